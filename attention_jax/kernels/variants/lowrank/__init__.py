"""Softmax attention over few tokens that stand for all."""
