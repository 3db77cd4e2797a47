"""Publishes what a comparison found: report, pictures, leaderboard, MLflow and Prefect."""
