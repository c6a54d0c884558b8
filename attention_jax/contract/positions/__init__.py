"""The contract of position encodings, on the variant scaled_dot."""
