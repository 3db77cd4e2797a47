"""Variants and baselines side by side: simple forecasts, intervals, scores, pictures and the leaderboard; never trains anything."""
