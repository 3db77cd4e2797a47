"""WHICH values: the schema of a run file and the YAML files themselves; never an algorithm."""
