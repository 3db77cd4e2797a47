"""What the command line's verbs print; contains no flows."""
