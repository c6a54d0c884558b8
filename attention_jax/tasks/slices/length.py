"""Sequences by how long they are."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.tasks.slicing import Batch, Slicing, octave, octave_label, octaves, slicings


@slicings.register
def length() -> Slicing:
    """Examples by their real tokens, in octaves: those of "lengths" where the data gives it, and else all."""

    def of(batch: Batch) -> Int[Array, " B"]:
        rows, tokens = _tokens(batch).shape
        lengths = batch["lengths"] if "lengths" in batch else jnp.full(rows, tokens)
        return octave(lengths, count=octaves(tokens))

    return Slicing(reads=(), count=lambda output, batch: octaves(_tokens(batch).shape[1]), of=of, label=octave_label)


def _tokens(batch: Batch) -> Int[Array, "B T"]:
    return batch["inputs"] if "inputs" in batch else batch["tokens"]
