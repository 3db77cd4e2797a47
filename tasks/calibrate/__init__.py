"""Intervals that hold for every series: calibrated on validation, by the method that does best there."""
