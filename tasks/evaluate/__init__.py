"""Evaluation: forecasts of fits and of baselines, and the leakage canary."""
