"""Each module here computes what a published package gives, in an environment of its own, and writes it to files/."""
