"""Softmax over a score of every pair."""
