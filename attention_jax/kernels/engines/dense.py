"""The reference engine: every weight in memory, any mask, derivatives of any order, float64.

Scores, weights and their sums are float32 whatever the inputs are (float64 for float64). Order: scale, bias, score
function, soft cap, mask, normalise, dropout. Memory: O(B N T S).

Short sequences are where it is taken, and there a look at each number of a query costs as much as its products. So one
look says whether any number is out of the ordinary, and only then are numbers cleaned and scaled before they meet.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels import dropout
from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.engines import rows, stepwise
from attention_jax.kernels.engines.poison import extreme, finite, poisoned_rows
from attention_jax.kernels.matrices import products, weighted_mean
from attention_jax.kernels.mechanism import (
    FeatureMap,
    RowScore,
    Score,
    SoftmaxScore,
    dot,
    statistics_dtype,
    unchanged,
    widest,
)
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.scores import Scorer, Terms, folded, logits, own_arrays, power_of_two, scorer_of
from attention_jax.kernels.softmax import masked_exponentials


def refusal(problem: Problem) -> str | None:
    """Returns why the dense engine cannot solve the problem, or None."""
    if problem.state is not None or "state" in problem.outputs:
        return "it forms all weights at once and carries no state"
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, Alignment) and mechanism.parallel is None:
        return "the alignment has no parallel form"
    if isinstance(mechanism, Alignment) and "aux" in problem.outputs:
        return "a parallel form reports nothing"
    if not isinstance(mechanism, (Score, FeatureMap, Alignment)):
        return "it forms weights from queries and keys, and no state that they change"
    if problem.per_token and isinstance(mechanism, FeatureMap):
        return "features are of queries and keys alone: no per_token arrays"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention with every weight in memory."""
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, RowScore):
        return rows.run(problem)
    if isinstance(mechanism, Alignment):
        return stepwise.in_parallel(problem)
    visible = rows.visible_to(problem, problem.query_axis)
    unusual = extreme(problem)
    poisoned = poisoned_rows(problem, unusual)
    scores, scale, value = _scores(problem, visible, unusual, poisoned)
    exponentials, total, lse = masked_exponentials(scores, visible, scale)
    exponentials = dropout.dropped(exponentials, problem.rng, problem.dropout_rate, problem.place)
    out = _mean(exponentials, value, total, problem.query.dtype)
    # NaN goes in at the end: inside the sums, 0 times NaN would reach the gradients of rows that do not see it.
    out = jnp.where(poisoned.swapaxes(1, 2)[..., None], jnp.nan, out)
    return AttentionOutput(
        out=out.astype(problem.query.dtype),
        weights=jnp.where(poisoned[..., None], jnp.nan, exponentials / total[..., None])
        if "weights" in problem.outputs
        else None,
        lse=jnp.where(poisoned, jnp.nan, lse) if "lse" in problem.outputs else None,
        logits=jnp.where(poisoned[..., None], jnp.nan, jnp.where(visible, scores * scale, -jnp.inf))
        if "logits" in problem.outputs
        else None,
    )


def _scores(
    problem: Problem, visible: Bool[Array, "b n t s"], unusual: Bool[Array, ""], poisoned: Bool[Array, "B N T"]
) -> tuple[Float[Array, "B N T S"], Float[Array, ""] | float, Float[Array, "B S K Hv"]]:
    """What is to be exponentiated, what it is to be multiplied by before, and the values."""
    mechanism, given = problem.variant.mechanism, problem.given
    arrays = [jnp.asarray(array) for array in (problem.key, problem.query, problem.value)]
    if isinstance(mechanism, FeatureMap):
        key, query, value = _tame(unusual, 1.0, *arrays)
        return _log_kernel(mechanism, query, key, problem), 1.0, value
    assert isinstance(mechanism, SoftmaxScore)
    terms = Terms(own=own_arrays(mechanism, problem.params), bias=problem.bias, captures=problem.captures)
    prepared = jax.eval_shape(lambda: mechanism.prepare_query(problem.query, given))
    scorer = scorer_of(mechanism, problem.score_mod, width=prepared.shape[-1])
    if not _are_scaled_products(scorer, terms):
        key, query, value = _tame(unusual, 1.0, *arrays)
        query, key = mechanism.prepare_query(query, given), mechanism.prepare_key(key, given)
        scorer, factor = folded(scorer, prepared.dtype)
        shown = None if problem.mask is None else visible
        return logits(scorer, query * factor, key, terms, problem.place, shown), 1.0, value
    # Scaled by a power of two, before the products or after, they are the same to the bit.
    factor = power_of_two(min(scorer.scale, 1.0))
    as_given = mechanism.prepare_key is unchanged
    key, query, value = _tame(unusual, factor if as_given else 1.0, *arrays)
    query, key = mechanism.prepare_query(query, given), mechanism.prepare_key(key, given)
    if not as_given:
        (key,) = _tame(unusual, factor, key)
    taken = jnp.where(unusual, jnp.asarray(factor, statistics_dtype(prepared.dtype)), 1)
    return _products(query, key, jnp.where(poisoned, 0, taken)), scorer.scale / taken, value


def _are_scaled_products(scorer: Scorer, terms: Terms) -> bool:
    """Whether logits are q . k times a number above 0, and nothing else, so that it can be multiplied by later."""
    others = (terms.bias, scorer.score_mod, scorer.soft_cap)
    return scorer.pairwise is dot and scorer.scale > 0 and all(other is None for other in others)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _tame(unusual: Bool[Array, ""], factor: float, *arrays: Float[Array, "B _ _ _"]) -> tuple[Array, ...]:
    """The arrays; where numbers are unusual, with 0 for what is not finite, the first of them times the factor.

    Their tangents are as if nothing were done: rows that see what is not finite pass none on, and `products` knows of
    the factor.
    """

    def tamed(first: Array, *others: Array) -> tuple[Array, ...]:
        return (finite(first) * factor, *map(finite, others))

    # By head, as the products want them: what is passed on is laid out anew on the way.
    by_head = (array.swapaxes(1, 2) for array in arrays)
    passed = jax.lax.cond(unusual, tamed, lambda *arrays: arrays, *by_head)
    return tuple(array.swapaxes(1, 2) for array in passed)


@_tame.defjvp
def _tame_derivative(factor: float, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    unusual, *arrays = primals
    return _tame(unusual, factor, *arrays), tangents[1:]


def _products(
    query: Float[Array, "B T N P"], key: Float[Array, "B S K P"], factor: Float[Array, "B N T"]
) -> Float[Array, "B N T S"]:
    """What `mechanism.dot` gives; the keys have been multiplied by the factor, which is 0 for queries that see NaN."""
    batch, queries, heads, width = query.shape
    dtype = widest(query.dtype, key.dtype)
    grouped = query.astype(dtype).swapaxes(1, 2).reshape(batch, key.shape[2], -1, width)
    found = products(grouped, key.astype(dtype).swapaxes(1, 2), factor.reshape(batch, key.shape[2], -1))
    return found.reshape(batch, heads, queries, -1)


def _mean(
    exponentials: Float[Array, "B N T S"],
    value: Float[Array, "B S K Hv"],
    total: Float[Array, "B N T"],
    query_dtype: jnp.dtype,
) -> Float[Array, "B T N Hv"]:
    """The values by the weights, divided after they are summed: those of many keys are too small for float16."""
    batch, heads, queries, keys = exponentials.shape
    kv_heads, width = value.shape[2:]
    dtype = widest(query_dtype, value.dtype)
    grouped = exponentials.reshape(batch, kv_heads, -1, keys).astype(dtype)
    out = weighted_mean(grouped, value.astype(dtype).swapaxes(1, 2), total.reshape(batch, kv_heads, -1, 1))
    return out.reshape(batch, heads, queries, width).swapaxes(1, 2)


def _log_kernel(mechanism: FeatureMap, query: Array, key: Array, problem: Problem) -> Float[Array, "B N T S"]:
    given = problem.given
    of_query, of_key = mechanism.query_features(query, given), mechanism.key_features(key, given)
    kernel = dot(of_query.values, of_key.values, given)
    log_scale = jnp.repeat(of_key.log_scale, query.shape[2] // key.shape[2], axis=2)
    # The inner where keeps the derivative of log finite for a kernel that has underflowed to 0. NaN is not 0.
    some = ~(kernel <= 0)
    return jnp.where(some, jnp.log(jnp.where(some, kernel, 1)), -jnp.inf) + log_scale.transpose(0, 2, 1)[:, :, None]
