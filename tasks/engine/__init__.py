"""Where fits run: child processes of this machine, or the workers of a cluster."""
