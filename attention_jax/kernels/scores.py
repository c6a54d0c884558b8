"""The logits of any rectangle of queries and keys: scale, bias, score function, soft cap, in this order.

Every engine that forms logits forms them here, so that a block of them is the same wherever it is computed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels.errors import Refused
from attention_jax.kernels.mechanism import Params, SoftmaxScore

ScoreMod = Callable[[Array, Array, Array, Array, Array], Array]


@dataclass(frozen=True)
class Scorer:
    """How logits are formed: what is fixed when a program is traced.

    Attributes:
      pairwise: (q', k', own) -> [B, N, T, S], as of `SoftmaxScore`.
      scale: multiplies what `pairwise` returns.
      soft_cap: c of c tanh(logit / c), or None.
      score_mod: the traced score function, its captured arrays first among its inputs, or None.
    """

    pairwise: Callable[[Array, Array, Params], Array]
    scale: float
    soft_cap: float | None
    score_mod: Any = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Terms:
    """The arrays that enter the logits beside queries and keys.

    Attributes:
      own: the params that `pairwise` reads, each [N, ...].
      bias: [B or 1, N or 1, T or 1, S or 1], or None.
      captures: the arrays that the score function closes over.
    """

    own: Params
    bias: Float[Array, "b n t s"] | None
    captures: tuple[Array, ...] = ()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Place:
    """Where a rectangle lies, for a score function and for dropout.

    Attributes:
      batch: [b], the number of each sequence.
      heads: [n], the number of each query head.
      query: [b or 1, t], positions.
      key: [b or 1, s], positions.
    """

    batch: Int[Array, " b"]
    heads: Int[Array, " n"]
    query: Int[Array, "b t"]
    key: Int[Array, "b s"]


def logits(scorer: Scorer, query: Array, key: Array, terms: Terms, place: Place) -> Float[Array, "B N T S"]:
    """Returns the logits of a rectangle, in the dtype of statistics.

    Args:
      scorer: how.
      query: [B, T, N, P], prepared.
      key: [B, S, K, P], prepared.
      terms: the other arrays, of these heads, queries and keys alone.
      place: where the rectangle lies.
    """
    return shaped(scorer, scorer.pairwise(query, key, terms.own), terms, place)


def shaped(scorer: Scorer, products: Float[Array, "B N T S"], terms: Terms, place: Place) -> Float[Array, "B N T S"]:
    """Returns the logits from what `pairwise` gave: all that is done to each number alone."""
    scores = products if scorer.scale == 1 else products * scorer.scale
    if terms.bias is not None:
        scores = scores + terms.bias.astype(scores.dtype)
    if scorer.score_mod is not None:
        scores = _modified(scorer.score_mod, terms.captures, scores, place)
    if scorer.soft_cap is not None:
        scores = scorer.soft_cap * jnp.tanh(scores / scorer.soft_cap)
    return scores


def scorer_of(mechanism: SoftmaxScore, score_mod: Any, *, width: int) -> Scorer:
    """Returns how a mechanism's logits are formed from queries of this width, with a traced score function or None."""
    scale = 1 / math.sqrt(width) if mechanism.scale is None else mechanism.scale
    return Scorer(mechanism.pairwise, scale, mechanism.soft_cap, score_mod)


def trace(score_mod: ScoreMod, dtype: jnp.dtype) -> tuple[Any, tuple[Array, ...]]:
    """Traces a score function, so that the arrays it closes over become inputs that have gradients.

    Args:
      score_mod: (score, batch, head, query position, key position), all scalars, -> the new score.
      dtype: of the score.

    Returns:
      The traced function and the captured arrays.

    Raises:
      Refused: it does not return one number.
    """
    index = jax.ShapeDtypeStruct((), jnp.int32)
    closed = jax.make_jaxpr(score_mod)(jax.ShapeDtypeStruct((), dtype), index, index, index, index)
    outputs = [(value.shape, value.dtype) for value in closed.out_avals]
    if len(outputs) != 1 or outputs[0][0] != () or not jnp.issubdtype(outputs[0][1], jnp.floating):
        raise Refused(
            f"score_mod returns {outputs} for one score: write it for one pair, (score, b, h, q_pos, k_pos) -> score."
        )
    return closed.jaxpr, tuple(jnp.asarray(array) for array in closed.consts)


def _modified(jaxpr: Any, captures: tuple[Array, ...], scores: Float[Array, "B N T S"], place: Place) -> Array:
    modify = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, list(captures)))

    def one(score: Array, batch: Array, head: Array, query: Array, key: Array) -> Array:
        return modify(score, batch, head, query, key)[0].astype(score.dtype)

    over_keys = jax.vmap(one, in_axes=(0, None, None, None, 0))
    over_queries = jax.vmap(over_keys, in_axes=(0, None, None, 0, None))
    over_heads = jax.vmap(over_queries, in_axes=(0, None, 0, None, None))
    size = scores.shape[0]
    query, key = (jnp.broadcast_to(p, (size, p.shape[-1])).astype(jnp.int32) for p in (place.query, place.key))
    batch, heads = place.batch.astype(jnp.int32), place.heads.astype(jnp.int32)
    return jax.vmap(over_heads, in_axes=(0, 0, None, 0, 0))(scores, batch, heads, query, key)
