"""Opens a user's table and returns it as a long frame."""
