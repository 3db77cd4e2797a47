"""Engines run fits: as child processes of this machine, or on the workers of a cluster."""
