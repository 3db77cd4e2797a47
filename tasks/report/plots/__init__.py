"""Pictures of a comparison as matplotlib Figures.  Not by pyplot, whose state is shared by all threads."""
