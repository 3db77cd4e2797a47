"""Searches: which values of a variant's search are tried, what came of each trial, and the variant files of the best."""
