"""The pairs written a second time, from their papers: two sequences of real tokens, one pair at a time, float64.

Each returns what the first sequence gets, what the second gets, and the affinity [T, S].
"""
