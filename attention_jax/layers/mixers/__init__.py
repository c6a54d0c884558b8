"""Token mixers that own their projections: one file per mixer; importing a file registers it."""
