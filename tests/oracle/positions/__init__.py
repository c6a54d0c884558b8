"""Each position encoding as its paper writes it: one file per encoding, `logit` or `embed`, in float64."""
