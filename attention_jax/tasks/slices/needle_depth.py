"""Needles by where they lie."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.data.synthetic.needle import MARK, QUESTION
from attention_jax.tasks.slicing import Batch, Slicing, slicings

_PARTS = 10


@slicings.register
def needle_depth() -> Slicing:
    """Examples of `needle` by the place of the mark on the way to the question, in tenths: 0-9% is at the start."""

    def of(batch: Batch) -> Int[Array, " B"]:
        mark, question = (jnp.argmax(batch["inputs"] == token, axis=1) for token in (MARK, QUESTION))
        return (_PARTS * mark // question).astype(jnp.int32)

    return Slicing(
        reads=("inputs",), count=lambda output, batch: _PARTS, of=of, label=lambda part: f"{10 * part}-{10 * part + 9}%"
    )
