"""relu(q_i) . relu(k_j) cos(pi (i - j) / 2M) over its sum: Qin et al. 2022 (cosFormer), equations 8 to 10.

The cosine of a difference is that of cosines and sines, so that a token has the features relu(x) cos(pi i / 2M) and
relu(x) sin(pi i / 2M), not negative up to position M. M is the longest sequence that it is made for, one for all; the
authors' code takes the length of each input, so that a token more changes all weights before it. They add 1e-6 to the
sum: here a query that has no weight for any key gives 0.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Sizes
from attention_jax.kernels.mechanism import FeatureMap, Features, Given, to_statistics
from attention_jax.kernels.registry import Claims, Source, register


def _longest(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    """M, at each place: whole numbers are exact, where angles would be rounded."""
    return jnp.full(shape, shape[0], jnp.float32)


def _turned(array: Array, position: Int[Array, "b t"], given: Given) -> Features:
    longest = given.params["longest"]
    if array.shape[1] > longest.shape[0]:
        raise Refused(
            f"cosformer has {array.shape[1]} queries for {longest.shape[0]} keys: give as many keys, or more."
        )
    rectified = jax.nn.relu(to_statistics(array))
    # A place that it was not made for gives NaN to who stands there, and to who sees it.
    within = jnp.take(longest, position, mode="fill", fill_value=jnp.nan).astype(rectified.dtype)
    angle = (math.pi / 2 * position.astype(rectified.dtype) / within)[..., None, None]
    values = jnp.concatenate([rectified * jnp.cos(angle), rectified * jnp.sin(angle)], axis=-1)
    return Features(values=values, log_scale=jnp.zeros(values.shape[:-1], values.dtype))


def _query_features(query: Array, given: Given) -> Features:
    assert given.place is not None
    return _turned(query, given.place.query, given)


def _key_features(key: Array, given: Given) -> Features:
    assert given.place is not None
    return _turned(key, given.place.key, given)


@register(
    source=Source(
        "cosFormer: Rethinking Softmax in Attention",
        "equations 8 to 10",
        authors=(
            "Qin, Zhen and Sun, Weixuan and Deng, Hui and Li, Dongxu and Wei, Yunshen and Lv, Baohong and "
            "Yan, Junjie and Kong, Lingpeng and Zhong, Yiran"
        ),
        year=2022,
        venue="ICLR 2022",
        arxiv="2202.08791",
    ),
    claims=Claims(bias=False, dropout=False, weights=False, lse=False, convex=False, weighted="some"),
)
def cosformer() -> FeatureMap:
    """Linear attention by the positive parts of query and key, and by the cosine of how far they are apart."""
    return FeatureMap(
        query_features=_query_features,
        key_features=_key_features,
        arrays={"longest": Declared(("length",), _longest, trained=False)},
    )
