"""The bench: what is compared with what, the arithmetic of the table, the workers and the turns they take."""
