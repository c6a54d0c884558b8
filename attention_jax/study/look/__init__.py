"""A trained model looked at: what its heads attend to on one input."""
