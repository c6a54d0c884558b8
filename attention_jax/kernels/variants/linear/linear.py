"""phi(q)^T phi(k) with phi(x) = elu(x) + 1: Katharopoulos et al. 2020, equations 7, 9. No epsilon: phi is positive."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.mechanism import FeatureMap, Features, Given, to_statistics
from attention_jax.kernels.registry import Claims, Source, register


def _features(array: Array, given: Given) -> Features:
    array = to_statistics(array)
    return Features(values=jax.nn.elu(array) + 1, log_scale=jnp.zeros(array.shape[:-1], array.dtype))


@register(
    source=Source(
        "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
        "equations 7 and 9",
        authors="Katharopoulos, Angelos and Vyas, Apoorv and Pappas, Nikolaos and Fleuret, François",
        year=2020,
        venue="ICML 2020",
        arxiv="2006.16236",
    ),
    claims=Claims(bias=False, dropout=False, weights=False, lse=False, state=True),
    aliases=("linear_transformer",),
)
def linear() -> FeatureMap:
    """Linear attention: elu(x) + 1 of query and key in place of the exponential of their product."""
    return FeatureMap(query_features=_features, key_features=_features)
