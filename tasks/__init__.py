"""What each step of the pipeline does: pure functions first, a thin Prefect task at the bottom of a file."""
