"""The ground floor, which imports nothing of the house: refusals, names, options, Python files, numbers in words."""
