"""Softmax over a fixed or chosen subset of the keys."""
