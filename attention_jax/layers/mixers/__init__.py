"""Token mixers that own their projections, a file each: see `attention_jax.layers.mixer`."""
