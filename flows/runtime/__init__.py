"""Where flows run: the state folder, servers, progress."""
