"""The equations of mixers, in plain NumPy: a file each, with a function `mix` of one sequence."""
