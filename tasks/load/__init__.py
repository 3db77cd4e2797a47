"""Opens a table of the user and gives it as a long frame."""
