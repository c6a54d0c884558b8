"""What needs no network: the majority, a linear model, counts of tokens."""
