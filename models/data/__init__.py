"""What a network sees: the panel, windows over it, where they lie, and how values are scaled."""
