"""The training room: what a run leaves behind, whatever stops it."""
