"""Prediction intervals that hold for every series, calibrated on validation by the best method there."""
