"""The poolings written a second time, from their papers: one sequence of real tokens, one token at a time, float64."""
