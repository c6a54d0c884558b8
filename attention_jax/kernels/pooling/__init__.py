"""A sequence summed up: one file per mechanism; importing a file registers what it defines."""
