"""Pictures of a comparison as matplotlib Figures, without pyplot, whose state all threads share."""
