"""The documentation; `course/` holds lessons that run."""
