"""What a comparison found, put where people look."""
