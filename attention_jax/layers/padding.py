"""Which tokens of padded texts are real."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def lengths_of(tokens: Array, lengths: Int[Array, " B"] | None) -> Int[Array, " B"]:
    """Returns how many tokens [B, T, ...] of each text are real; all where that is not said."""
    return jnp.full(len(tokens), tokens.shape[1]) if lengths is None else jnp.asarray(lengths)


def is_real(tokens: int, lengths: Int[Array, " B"]) -> Bool[Array, "B T"]:
    """Returns which of so many tokens are real."""
    return jnp.arange(tokens) < lengths[:, None]


def masked(text: Float[Array, "B T D"], lengths: Int[Array, " B"]) -> Float[Array, "B T D"]:
    """Returns a text with 0 at padding."""
    return jnp.where(is_real(text.shape[1], lengths)[..., None], text, 0)
