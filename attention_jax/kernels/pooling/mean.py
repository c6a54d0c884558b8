"""(1 / n) sum_t h_t over the n real tokens. A channel that is not finite in one of them is not finite in the mean."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.source import Source


def _pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    if given.visible is None:
        batch, tokens, _ = hidden.shape
        return Pooled(hidden.mean(axis=1), jnp.full((batch, 1, tokens), 1 / tokens, statistics_dtype(hidden.dtype)))
    wide = statistics_dtype(hidden.dtype)
    count = jnp.maximum(given.visible.sum(axis=1, keepdims=True), 1).astype(wide)
    total = jnp.sum(jnp.where(given.visible[..., None], hidden, 0), axis=1, dtype=wide)
    weights = given.visible.astype(wide) / count
    # Not by the weights: 1 / n is rounded.
    return Pooled((total / count).astype(hidden.dtype), weights[:, None])


@register_pooling(
    source=Source("A control of this library", "the mean of the real tokens"), claims=PoolingClaims(equal_at_zero=())
)
def mean() -> Pooling:
    """The mean of the real tokens."""
    return Pooling(pool=_pool, careful=True)
