"""Params are the values of an experiment: the schema of a run file, and the YAML files."""
