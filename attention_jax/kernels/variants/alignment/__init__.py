"""Scores by a learned comparison of query and key."""
