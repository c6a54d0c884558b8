"""A sequence summed up in one vector."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def mean_of_tokens(hidden: Float[Array, "B T D"], *, lengths: Int[Array, " B"] | None = None) -> Float[Array, "B D"]:
    """Returns the mean over the real tokens of each sequence, [B, D]; 0 where there is none, with a gradient of 0.

    Args:
      hidden: [B, T, D].
      lengths: [B], how many tokens, from the first, are real; None: all are.
    """
    if lengths is None:
        return hidden.mean(axis=1)
    real = jnp.arange(hidden.shape[1]) < lengths[:, None]
    # As the mean of all is: summed in at least float32.
    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    total = jnp.sum(jnp.where(real[..., None], hidden, 0), axis=1, dtype=wide)
    return (total / jnp.maximum(real.sum(axis=1, keepdims=True), 1).astype(wide)).astype(hidden.dtype)
