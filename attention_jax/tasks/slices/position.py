"""Tokens by how much there is before them."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.tasks.slicing import Batch, Slicing, octave, octave_label, octaves, slicings


@slicings.register
def position() -> Slicing:
    """Positions in octaves, from 0: a language model's loss by the length of its context.

    Where documents share a row it is the position in the row.
    """

    def of(batch: Batch) -> Int[Array, "B T"]:
        rows, length = batch["weights"].shape
        return jnp.broadcast_to(octave(jnp.arange(length), count=octaves(length)), (rows, length))

    return Slicing(
        reads=("weights",), count=lambda output, batch: octaves(batch["weights"].shape[1]), of=of, label=octave_label
    )
