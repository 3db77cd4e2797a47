"""Scores, ranking and significance of all models on the same rows."""
