"""How many keys a query sees: what normalisers without a sum divide by."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Rows


def number_seen(rows: Rows) -> Float[Array, "B N t 1"]:
    """Returns the number of visible keys, at least 1."""
    return jnp.maximum(rows.visible.sum(-1, keepdims=True, dtype=rows.logits.dtype), 1)
