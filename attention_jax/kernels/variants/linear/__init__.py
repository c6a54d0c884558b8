"""Kernels that factor into features of the query and of the key."""
