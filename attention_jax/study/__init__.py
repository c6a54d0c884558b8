"""Studies of attention variants: running their cells, their statistics, and the report.

Nothing is imported here: a worker has to pin itself to its core before JAX is.
"""
