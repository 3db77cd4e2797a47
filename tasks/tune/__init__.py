"""Searches: which values of a variant are tried, the outcome of each trial, and variant files of the best."""
