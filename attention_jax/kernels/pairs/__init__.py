"""Two sequences seen by each other: one file per mechanism; importing a file registers what it defines."""
