"""z_ij = (q_i . k_j + q_i . kr_d(i,j) + k_j . qr_d(j,i)) / sqrt(3 H): He et al. 2020, equations 3 and 4.

d(i, j) = clip(i - j + k, 0, 2k - 1): content to content, content to position and position to content, the last by the
distance seen from the key. kr and qr are learned for each head; the paper makes them by projections of one table that
all layers share, which belongs to the model. Queries and keys bring their products with all 2k vectors along, from
which each pair takes its own. With fewer key heads, query heads share qr as they share their keys. The log buckets of
DeBERTa-v2 are not here. transformers, for both models, takes d(i, j) in the last product too: the same with the table
qr mirrored, qr_m for qr_(2k - m), as long as no distance is clipped.
"""

import math
from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, normal
from attention_jax.kernels.mechanism import Given, Score, to_statistics
from attention_jax.kernels.position import Position, PositionClaims, distances, picked, register_position, scaled
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.scores import scale_of
from attention_jax.kernels.source import Source

KEYS, QUERIES = "position_keys", "position_queries"


def _nothing(sizes: Sizes) -> dict[str, Array]:
    return {KEYS: jnp.zeros((sizes.heads, 4, sizes.query)), QUERIES: jnp.zeros((sizes.kv_heads, 4, sizes.key))}


def _products(array: Float[Array, "B T N H"], vectors: Float[Array, "N R H"]) -> Float[Array, "B T N R"]:
    wide = to_statistics(array)
    return jnp.einsum("btnh,nrh->btnr", wide, vectors.astype(wide.dtype))


def _encoded(mechanism: Score, clip: int) -> Score:
    def with_columns(prepared: Array, columns: Array) -> Array:
        return jnp.concatenate([prepared, columns.astype(prepared.dtype)], axis=-1)

    def query(array: Array, given: Given) -> Array:
        return with_columns(mechanism.prepare_query(array, given), _products(array, given.params[KEYS]))

    def key(array: Array, given: Given) -> Array:
        return with_columns(mechanism.prepare_key(array, given), _products(array, given.params[QUERIES]))

    def pairwise(query: Array, key: Array, given: Given) -> Array:
        (own, to_positions), (content, to_queries) = (
            jnp.split(array, [array.shape[-1] - 2 * clip], axis=-1) for array in (query, key)
        )
        apart = distances(given)
        of_key = _entry(-apart, clip).swapaxes(1, 2)
        from_keys = picked(to_queries, of_key).swapaxes(2, 3)
        from_keys = jnp.repeat(from_keys, query.shape[2] // key.shape[2], axis=1)
        by_position = scale_of(mechanism, content.shape[-1]) * (picked(to_positions, _entry(apart, clip)) + from_keys)
        return (scaled(mechanism, own, content, given) + by_position) / math.sqrt(3)

    return replace(mechanism, prepare_query=query, prepare_key=key, pairwise=pairwise, scale=1.0)


def _entry(distance: Int[Array, "b t s"], clip: int) -> Int[Array, "b t s"]:
    return jnp.clip(distance + clip, 0, 2 * clip - 1)


@register_position(
    source=Source(
        "DeBERTa: Decoding-enhanced BERT with Disentangled Attention",
        "equations 3 and 4",
        authors="He, Pengcheng and Liu, Xiaodong and Gao, Jianfeng and Chen, Weizhu",
        year=2020,
        venue="ICLR 2021",
        arxiv="2006.03654",
    ),
    claims=PositionClaims(
        limits=(
            Limit("deberta:clip=2", f"scaled_dot:scale={1 / math.sqrt(3 * 8)}", 1e-6, params=_nothing),  # 8 wide
        ),
        tried="deberta:clip=3",
    ),
    aliases=("disentangled", "deberta_disentangled"),
)
def deberta(*, clip: int = 512) -> Position:
    """Content compared with content, with the distance from the query and with that from the key (disentangled).

    Args:
      clip: k, the distance from which on all is one, on either side.

    Raises:
      Refused: clip is smaller than 1.
    """
    if clip < 1:
        raise Refused(f"deberta has clip={clip}: give at least 1.")
    arrays = {
        KEYS: normal("N", 2 * clip, "H", fan_in=(-1,)),
        QUERIES: normal("K", 2 * clip, "J", fan_in=(-1,)),
    }
    return Position(encode=lambda mechanism: _encoded(mechanism, clip), arrays=arrays)
