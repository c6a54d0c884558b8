"""Losses and measures against NumPy."""
