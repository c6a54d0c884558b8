"""What a comparison runs: its plan, what varies, how each variant is tuned, its cells and their results."""
