"""Expressions by how deep their brackets go."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.data.synthetic.listops import END, MAX
from attention_jax.tasks.slicing import Batch, Slicing, slicings


@slicings.register
def nesting() -> Slicing:
    """Examples of `listops` by the most operations that are open at once; 0 is a digit alone."""

    def of(batch: Batch) -> Int[Array, " B"]:
        tokens = batch["tokens"]
        opened = ((tokens >= MAX) & (tokens < END)).astype(jnp.int32) - (tokens == END)
        return jnp.max(jnp.cumsum(opened, axis=1), axis=1)

    # An operation takes four tokens at least, of which one may be an operation again.
    return Slicing(reads=("tokens",), count=lambda output, batch: 1 + batch["tokens"].shape[1] // 3, of=of)
