"""(1 / n) sum_t h_t over the n real tokens."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.source import Source


def _pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    count = given.visible.sum(axis=1, keepdims=True).astype(hidden.dtype)
    count = jnp.maximum(count, 1)
    weights = given.visible.astype(hidden.dtype) / count
    # Not by the weights: 1 / n is rounded.
    return Pooled(hidden.sum(axis=1) / count, weights[:, None])


@register_pooling(
    source=Source("A control of this library", "the mean of the real tokens"), claims=PoolingClaims(equal_at_zero=())
)
def mean() -> Pooling:
    """The mean of the real tokens."""
    return Pooling(pool=_pool)
