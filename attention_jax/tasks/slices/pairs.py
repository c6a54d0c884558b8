"""Recall by how much is to be held."""

import jax.numpy as jnp

from attention_jax.tasks.slicing import Slicing, slicings


@slicings.register
def pairs() -> Slicing:
    """Examples by how many positions count: of MQAR, which asks for each key once, by the number of pairs."""
    return Slicing(
        reads=("weights",),
        count=lambda output, batch: batch["weights"].shape[1] + 1,
        of=lambda batch: jnp.sum(batch["weights"] > 0, axis=1, dtype=jnp.int32),
    )
