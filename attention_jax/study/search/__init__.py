"""What is searched, and who chooses the next point: for sweeps and for the tuning of a comparison."""
