"""The logits of any rectangle of queries and keys: scale, bias, score function, soft cap, in this order.

Every engine that forms logits forms them here, so that a block of them is the same wherever it is computed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels import score_functions
from attention_jax.kernels.mechanism import Given, Params, Place, Score, dot, statistics_dtype


@dataclass(frozen=True)
class Scorer:
    """How logits are formed: what is fixed when a program is traced.

    Attributes:
      pairwise: (q', k', given) -> [B, N, T, S], as of `Score`.
      scale: multiplies what `pairwise` returns.
      soft_cap: c of c tanh(logit / c), or None.
      score_mod: the traced score function, its captured arrays first among its inputs, or None.
      shared: the names of the params that `pairwise` reads whole, and not by head.
    """

    pairwise: Callable[[Array, Array, Given], Array]
    scale: float
    soft_cap: float | None
    score_mod: Any = None
    shared: tuple[str, ...] = ()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Terms:
    """The arrays that enter the logits beside queries and keys.

    Attributes:
      own: the params that `pairwise` reads, each [N, ...] but for those that heads share.
      bias: [B or 1, N or 1, T or 1, S or 1], or None.
      captures: the arrays that the score function closes over.
    """

    own: Params
    bias: Float[Array, "b n t s"] | None
    captures: tuple[Array, ...] = ()


def logits(
    scorer: Scorer,
    query: Array,
    key: Array,
    terms: Terms,
    place: Place,
    visible: Bool[Array, "b n t s"] | None = None,
) -> Float[Array, "B N T S"]:
    """Returns the logits of a rectangle, in the dtype of statistics.

    Args:
      scorer: how.
      query: [B, T, N, P], prepared.
      key: [B, S, K, P], prepared.
      terms: the other arrays, of these heads, queries and keys alone.
      place: where the rectangle lies.
      visible: as of `shaped`.
    """
    products = scorer.pairwise(query, key, Given(terms.own, place=place))
    return shaped(scorer, products, terms, place, visible)


def shaped(
    scorer: Scorer,
    products: Float[Array, "B N T S"],
    terms: Terms,
    place: Place,
    visible: Bool[Array, "b n t s"] | None = None,
) -> Float[Array, "B N T S"]:
    """Returns the logits from what `pairwise` gave: all that is done to each number alone.

    Args:
      scorer: how.
      products: what `pairwise` gave.
      terms: the other arrays, of these heads, queries and keys alone.
      place: where the rectangle lies.
      visible: which pairs the mask leaves. The logits of the others are then finite with finite derivatives, so that
        their cotangent, 0, stays 0: where the logits are differentiated. None where they are not, or where all are.
    """
    scores = products if scorer.scale == 1 else products * scorer.scale
    if terms.bias is not None:
        scores = scores + jnp.expand_dims(terms.bias, range(4 - terms.bias.ndim)).astype(scores.dtype)
    if scorer.score_mod is not None:
        scores = _modified(scorer.score_mod, terms.captures, scores, place, visible)
    if scorer.soft_cap is not None:
        scores = scores if visible is None else jnp.where(visible, scores, 0)
        scores = scorer.soft_cap * jnp.tanh(scores / scorer.soft_cap)
    return scores


def folded(scorer: Scorer, dtype: jnp.dtype) -> tuple[Scorer, float]:
    """Returns a scorer with less to multiply, and what its queries, in this dtype, are to be multiplied by instead.

    Products that overflow before they are scaled down give NaN for logits that are finite. So dot products are scaled
    in the query: wholly where that is rounded no more than the logits are, by the power of two in it otherwise.
    """
    if scorer.pairwise is not dot or abs(scorer.scale) > 1:
        return scorer, 1.0
    if dtype == statistics_dtype(dtype):
        return replace(scorer, scale=1.0), scorer.scale
    power = power_of_two(scorer.scale)
    return replace(scorer, scale=scorer.scale / power), power


def power_of_two(scale: float) -> float:
    """Returns the largest power of two that is not larger: to multiply by it rounds nothing."""
    return 2.0 ** (math.frexp(scale)[1] - 1)


def scorer_of(mechanism: Score, score_mod: Any, *, width: int) -> Scorer:
    """Returns how a mechanism's logits are formed from queries of this width, with a traced score function or None."""
    return Scorer(mechanism.pairwise, scale_of(mechanism, width), mechanism.soft_cap, score_mod, mechanism.shared)


def own_arrays(mechanism: Score, params: Params) -> Params:
    """Returns the params that a mechanism's `pairwise` reads."""
    return {name: params[name] for name in (*mechanism.per_head, *mechanism.shared)}


def scale_of(mechanism: Score, width: int) -> float:
    """Returns what multiplies the products of prepared queries and keys of this width."""
    return 1 / math.sqrt(width) if mechanism.scale is None else mechanism.scale


def _modified(
    jaxpr: Any,
    captures: tuple[Array, ...],
    scores: Float[Array, "B N T S"],
    place: Place,
    visible: Bool[Array, "b n t s"] | None,
) -> Float[Array, "B N T S"]:
    def one(score: Array, batch: Array, head: Array, query: Array, key: Array, shown: Array | None) -> Array:
        return score_functions.evaluate(jaxpr, captures, (score, batch, head, query, key), shown).astype(score.dtype)

    size = scores.shape[0]
    query, key = (jnp.broadcast_to(p, (size, p.shape[-1])).astype(jnp.int32) for p in (place.query, place.key))
    batch, heads = place.batch.astype(jnp.int32), place.heads.astype(jnp.int32)
    # An axis of `visible` that is 1 long is not spread out: it goes for all sequences, heads, queries or keys.
    spread = (False,) * 4 if visible is None else tuple(length > 1 for length in visible.shape)
    shown = None if visible is None else visible.squeeze([axis for axis in range(4) if not spread[axis]])
    of_batch, of_head, of_query, of_key = (0 if is_spread else None for is_spread in spread)
    over_keys = jax.vmap(one, in_axes=(0, None, None, None, 0, of_key))
    over_queries = jax.vmap(over_keys, in_axes=(0, None, None, 0, None, of_query))
    over_heads = jax.vmap(over_queries, in_axes=(0, None, 0, None, None, of_head))
    return jax.vmap(over_heads, in_axes=(0, 0, None, 0, 0, of_batch))(scores, batch, heads, query, key, shown)
