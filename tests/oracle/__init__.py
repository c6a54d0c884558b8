"""The variants written a second time, from their papers, one pair of query and key at a time."""
