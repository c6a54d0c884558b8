"""What a run leaves in its folder and says of itself, and what stops it."""
