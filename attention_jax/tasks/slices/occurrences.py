"""Recall by how often a token was there before."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.tasks.slicing import Batch, Slicing, slicings, tokens_of


@slicings.register
def occurrences() -> Slicing:
    """Positions by how many times their token came before.

    Of `forgetting_mqar` that is 1 for a key that is bound once, and 2 for one that is bound anew.
    """

    def of(batch: Batch) -> Int[Array, "B T"]:
        inputs = tokens_of(batch)
        same = inputs[:, :, None] == inputs[:, None, :]
        return jnp.sum(jnp.tril(same, -1), axis=-1, dtype=jnp.int32)

    return Slicing(reads=("inputs",), count=lambda output, batch: batch["inputs"].shape[1], of=of)
