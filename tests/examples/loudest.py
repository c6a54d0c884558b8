"""A pooling: sum_t softmax_t(c |h_t|^2 / D) h_t, the mean of the tokens by their size."""

import jax.numpy as jnp

from attention_jax.kernels import (
    Pooled,
    Pooling,
    PoolingClaims,
    Source,
    constant,
    masked_softmax,
    register_pooling,
)


def pool(hidden, given):
    """Tokens [B, T, D], 0 where they are hidden; given.visible [B, T] says where."""
    size = jnp.square(hidden).mean(-1)
    weights = masked_softmax(given.params["sharpness"][0] * size, given.visible)
    return Pooled(jnp.einsum("bt,btd->bd", weights, hidden), weights[:, None])


@register_pooling(
    source=Source("this file", "its first line"),
    # With c = 0 it is the mean, which the contract then holds it to.
    claims=PoolingClaims(equal_at_zero=("sharpness",)),
)
def loudest(*, sharpness: float = 1.0) -> Pooling:
    """The mean by the softmax of the tokens' squared lengths.

    Args:
      sharpness: c at the start; it is learned.
    """
    return Pooling(pool=pool, arrays={"sharpness": constant(sharpness, 1)})
