"""What the verbs of the command line print; no flows."""
