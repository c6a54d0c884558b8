"""A sweep: its trials, the best of them on fresh seeds, its report."""
