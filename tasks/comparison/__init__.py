"""Variants and baselines side by side: baselines, intervals, scores, plots, leaderboard; never trains anything."""
