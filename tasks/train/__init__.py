"""Fits: their jobs, identity and processes."""
