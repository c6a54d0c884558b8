"""WHAT: one file per mechanism, grouped by family; importing a file registers what it defines."""
