"""Tests of the parts of the kernels; what holds for every variant is in `attention_jax.contract`."""
