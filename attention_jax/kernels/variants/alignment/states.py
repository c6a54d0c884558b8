"""What the alignments have in common: their claims, and a state of weights before anything is seen."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, statistics_dtype
from attention_jax.kernels.registry import Claims

# All kinds but Segments: a state goes on from one document to the next.
MASKS = ("Causal", "Window", "Global", "PrefixLM", "Padding", "Dense", "Blocks")
CLAIMS = partial(Claims, bias=False, lse=False, unequal_widths=True, steps=True, memory="quadratic", masks=MASKS)


def nowhere(key: Float[Array, "B S K P"], heads: int, given: Given) -> Float[Array, "B N S"]:
    """The `start` at which no key has weight."""
    return jnp.zeros((key.shape[0], heads, key.shape[1]), statistics_dtype(key.dtype))
