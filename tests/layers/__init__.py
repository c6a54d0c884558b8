"""The layers against hand-written formulas and against Flax, with every variant inside."""
