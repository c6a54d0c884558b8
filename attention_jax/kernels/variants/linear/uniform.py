"""The mean of the visible values: attention without any choice, the control that every comparison needs."""

import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.mechanism import FeatureMap, Features, Given, statistics_dtype
from attention_jax.kernels.registry import Claims, Source, register


def _ones(array: Array, given: Given) -> Features:
    dtype = statistics_dtype(array.dtype)
    return Features(values=jnp.ones((*array.shape[:-1], 1), dtype), log_scale=jnp.zeros(array.shape[:-1], dtype))


@register(
    source=Source("A control of this library", "the mean of the values a query sees"),
    claims=Claims(bias=False, dropout=False, weights=False, lse=False, unequal_widths=True, state=True),
)
def uniform() -> FeatureMap:
    """The same weight for every visible key, whatever the query and the keys are."""
    return FeatureMap(query_features=_ones, key_features=_ones)
