"""z_ij = q_i . (k_j + a_r) / sqrt(H), out_i = sum_j w_ij (v_j + b_r), r = clip(j - i, -k, k): Shaw et al. 2018.

Equations 3 and 4: a vector for the keys and one for the values at each clipped distance, the same for all heads. A
query brings its products with all 2k + 1 vectors along, from which each pair takes its own. What is added to the values
needs all weights of a query, and so an engine that has them in memory; the paper found no gain from it in translation.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, normal
from attention_jax.kernels.mechanism import Given, Score, statistics_dtype, to_statistics
from attention_jax.kernels.position import Position, PositionClaims, distances, picked, register_position, scaled
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.scores import scale_of
from attention_jax.kernels.source import Source

KEYS, VALUES = "position_keys", "position_values"


def _nothing(sizes: Sizes) -> dict[str, Array]:
    return {KEYS: jnp.zeros((5, sizes.query)), VALUES: jnp.zeros((5, sizes.value))}


@register_position(
    source=Source(
        "Self-Attention with Relative Position Representations",
        "equations 3 and 4",
        authors="Shaw, Peter and Uszkoreit, Jakob and Vaswani, Ashish",
        year=2018,
        venue="NAACL 2018",
        arxiv="1803.02155",
    ),
    claims=PositionClaims(
        limits=(Limit("shaw:clip=2", "scaled_dot", 1e-6, params=_nothing),), tried="shaw:clip=3,values=false"
    ),
    aliases=("relative_embeddings", "shaw_relative"),
)
def shaw(*, clip: int = 16, values: bool = True) -> Position:
    """A learned vector for each distance up to a clip, added to the keys and to the values.

    Args:
      clip: k, the distance from which on all is one, on either side.
      values: whether they are added to the values too, which takes quadratic memory.

    Raises:
      Refused: clip is smaller than 1.
    """
    if clip < 1:
        raise Refused(f"shaw has clip={clip}: give at least 1.")

    def entry(given: Given) -> Int[Array, "b t s"]:
        return jnp.clip(-distances(given), -clip, clip) + clip

    def encode(mechanism: Score) -> Score:
        def with_columns(query: Array, given: Given) -> Array:
            products = jnp.einsum(
                "btnh,rh->btnr", to_statistics(query), given.params[KEYS].astype(statistics_dtype(query.dtype))
            )
            prepared = mechanism.prepare_query(query, given)
            return jnp.concatenate([prepared, products.astype(prepared.dtype)], axis=-1)

        def pairwise(query: Array, key: Array, given: Given) -> Array:
            own, columns = jnp.split(query, [key.shape[-1]], axis=-1)
            scale = scale_of(mechanism, key.shape[-1])
            return scaled(mechanism, own, key, given) + scale * picked(columns, entry(given))

        return replace(mechanism, prepare_query=with_columns, pairwise=pairwise, scale=1.0)

    def in_values(weights: Float[Array, "B N T S"], given: Given) -> Float[Array, "B T N Hv"]:
        index = entry(given)[:, None]
        of_entry = jax.lax.map(lambda one: jnp.where(index == one, weights, 0).sum(-1), jnp.arange(2 * clip + 1))
        return jnp.einsum("rbnt,rh->btnh", of_entry, given.params[VALUES].astype(weights.dtype))

    arrays = {KEYS: normal(2 * clip + 1, "H", fan_in=(-1,))}
    if values:
        arrays |= {VALUES: normal(2 * clip + 1, "Hv", fan_in=(-1,))}
    return Position(encode=encode, values=in_values if values else None, arrays=arrays)
