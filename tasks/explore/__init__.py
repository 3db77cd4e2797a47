"""Looking at a table that nobody has described yet, and writing a run file for it."""
