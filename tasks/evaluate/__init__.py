"""Forecasts of what was trained, of baselines, and the leakage canary."""
