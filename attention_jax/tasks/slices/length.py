"""Sequences by how long they are."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.tasks.slicing import Batch, Slicing, octave, octave_label, octaves, slicings, tokens_of


@slicings.register
def length() -> Slicing:
    """Examples by their real tokens, in octaves: those of "lengths" where the data gives it, and else all."""

    def of(batch: Batch) -> Int[Array, " B"]:
        rows, tokens = tokens_of(batch).shape
        lengths = batch["lengths"] if "lengths" in batch else jnp.full(rows, tokens)
        return octave(lengths, count=octaves(tokens))

    return Slicing(reads=(), count=lambda output, batch: octaves(tokens_of(batch).shape[1]), of=of, label=octave_label)
