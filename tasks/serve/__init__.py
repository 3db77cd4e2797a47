"""Forecasts from registered versions, and how they turned out."""
