"""Experiment tracking with MLflow; besides the registry, only this package talks to it."""
