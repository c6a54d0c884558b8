"""Recall by how far back it reaches."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.tasks.slicing import Batch, Slicing, octave, octave_label, octaves, slicings, tokens_of


@slicings.register
def distance() -> Slicing:
    """Positions by how many tokens ago their token came first, in octaves.

    Of MQAR that is from the first presentation of a key to the query for it.
    """

    def of(batch: Batch) -> Int[Array, "B T"]:
        inputs = tokens_of(batch)
        same = inputs[:, :, None] == inputs[:, None, :]
        # The first of them; a token that is new is its own.
        return octave(jnp.arange(inputs.shape[1]) - jnp.argmax(same, axis=-1), count=octaves(inputs.shape[1]))

    return Slicing(
        reads=("inputs",), count=lambda output, batch: octaves(batch["inputs"].shape[1]), of=of, label=octave_label
    )
