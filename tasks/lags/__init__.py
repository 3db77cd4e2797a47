"""Windows: the panel that they are cut from, and the same as a lag table."""
