"""What a network sees: the panel, the windows and their origins, and how values are scaled."""
