"""Tracking: MLflow, and the one place that speaks to it besides the registry."""
