"""Reads by how long ago there was a write."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.data.synthetic.flip_flop import WRITE
from attention_jax.tasks.slicing import Batch, Slicing, octave, octave_label, octaves, slicings


@slicings.register
def write_distance() -> Slicing:
    """Positions of `flip_flop` by how many tokens ago the last write was, in octaves: sparse strings reach furthest."""

    def of(batch: Batch) -> Int[Array, "B T"]:
        place = jnp.arange(batch["inputs"].shape[1])
        written = jax.lax.cummax(jnp.where(batch["inputs"] == WRITE, place, 0), axis=1)
        return octave(place - written, count=octaves(len(place)))

    return Slicing(
        reads=("inputs",), count=lambda output, batch: octaves(batch["inputs"].shape[1]), of=of, label=octave_label
    )
