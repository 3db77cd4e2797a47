"""Fits: their jobs, identities and processes."""
