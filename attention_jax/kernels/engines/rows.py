"""Weights that are made of all logits of a query together: some queries at a time, each with all its keys.

Every normaliser of a row runs here, whatever it is: it gets the logits [B, N, t, S] of t queries. What a part of the
queries needed is computed again in the backward pass, so memory is linear in T. Weights and their sums are float32
(float64 for float64). Order: scale, bias, score function, soft cap, mask, normalise, dropout.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels import dropout
from attention_jax.kernels.budget import at_a_time
from attention_jax.kernels.engines.poison import finite, poisoned_rows
from attention_jax.kernels.mask_algebra import Axis
from attention_jax.kernels.mechanism import Place, Rows, RowScore, widest
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.scores import Terms, folded, logits, own_arrays, scorer_of


def refusal(problem: Problem) -> str | None:
    """Returns why rows cannot solve the problem, or None."""
    if not isinstance(problem.variant.mechanism, RowScore):
        return "it is for weights that are made of all logits of a query together"
    if {"weights", "logits"} & {*problem.outputs}:
        return "it holds the weights of some queries at a time"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention, some queries at a time; all at once where the weights are wanted."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, RowScore)
    queries = problem.query.shape[1]
    size = queries if {"weights", "logits"} & {*problem.outputs} else _queries_at_once(problem)
    parts = -(-queries // size)
    filled = partial(_filled, more=parts * size - queries)
    given = problem.given
    query = filled(mechanism.prepare_query(finite(problem.query), given), axis=1)
    key, value = mechanism.prepare_key(finite(problem.key), given), finite(problem.value)
    axis = Axis(filled(problem.query_axis.index, axis=0), filled(problem.query_axis.position, axis=1))
    bias = problem.bias
    cut_bias = bias is not None and bias.ndim > 1 and bias.shape[-2] > 1
    if bias is not None and cut_bias:
        bias = filled(bias, axis=bias.ndim - 2)

    def rows_of(number: Array | int) -> tuple[Rows, Place]:
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=number * size, slice_size=size)
        own = Axis(cut(axis.index, axis=0), cut(axis.position, axis=1))
        own_bias = cut(bias, axis=bias.ndim - 2) if bias is not None and cut_bias else bias
        return _rows(problem, mechanism, cut(query, axis=1), key, own_bias, own)

    @partial(jax.checkpoint, prevent_cse=False)
    def step(carry: Any, number: Array | int) -> tuple[Any, _Part]:
        rows, place = rows_of(number)
        # Where these queries stand, not all.
        own = given._replace(place=place)
        weights, carry = mechanism.normalise(rows._replace(carry=carry), own)
        weights = jnp.where(rows.visible, weights, 0)
        kept = dropout.dropped(weights, problem.rng, problem.dropout_rate, place)
        return carry, _Part(
            out=weighted_sum(kept, value, problem.query.dtype).swapaxes(1, 2),
            weights=kept if "weights" in problem.outputs else None,
            logits=jnp.where(rows.visible, rows.logits, -jnp.inf) if "logits" in problem.outputs else None,
            aux=mechanism.report(rows, weights, own) if mechanism.report and "aux" in problem.outputs else None,
        )

    start = mechanism.start(jax.eval_shape(lambda: rows_of(0)[0])) if mechanism.start else None
    if parts == 1:
        _, done = step(start, 0)
    else:
        _, done = jax.lax.scan(step, start, jnp.arange(parts))
        done = jax.tree.map(lambda array: _joined(array)[:, :, :queries], done)
    poisoned = poisoned_rows(problem)
    done = jax.tree.map(lambda array: jnp.where(jnp.expand_dims(poisoned, range(3, array.ndim)), jnp.nan, array), done)
    out = done.out.swapaxes(1, 2).astype(problem.query.dtype)
    return AttentionOutput(out=out, weights=done.weights, logits=done.logits, aux=done.aux)


class _Part(NamedTuple):
    """What is computed of some queries, each [B, N, t, ...]."""

    out: Float[Array, "B N t Hv"]
    weights: Float[Array, "B N t S"] | None
    logits: Float[Array, "B N t S"] | None
    aux: dict[str, Array] | None


def _joined(parts: Float[Array, "p B N t *a"]) -> Float[Array, "B N T *a"]:
    """Returns the queries of all parts one after the other."""
    parts = jnp.moveaxis(parts, 0, 2)
    return parts.reshape(*parts.shape[:2], -1, *parts.shape[4:])


def _queries_at_once(problem: Problem) -> int:
    batch, queries, heads = problem.query.shape[:3]
    return at_a_time(queries, batch * heads * problem.key.shape[1])


def _filled(array: Array, *, axis: int, more: int) -> Array:
    """Returns the array with its last entry along an axis repeated so often."""
    return jnp.pad(array, [(0, more if one == axis else 0) for one in range(array.ndim)], mode="edge")


def weighted_sum(
    weights: Float[Array, "B N T S"], value: Float[Array, "B S K Hv"], query_dtype: jnp.dtype
) -> Float[Array, "B T N Hv"]:
    """Returns the sum of the values by these weights, each key head's for its own query heads."""
    batch, heads, queries, keys = weights.shape
    kv_heads, width = value.shape[2:]
    dtype = widest(query_dtype, value.dtype)
    grouped = weights.reshape(batch, kv_heads, heads // kv_heads, queries, keys).astype(dtype)
    out = jnp.einsum("bkgts,bskh->btkgh", grouped, value.astype(dtype), preferred_element_type=weights.dtype)
    return out.reshape(batch, queries, heads, width)


def _rows(
    problem: Problem,
    mechanism: RowScore,
    query: Float[Array, "B t N P"],
    key: Float[Array, "B S K R"],
    bias: Float[Array, "..."] | None,
    axis: Axis,
) -> tuple[Rows, Place]:
    """The logits of some queries, and where they stand."""
    place = problem.place
    place = Place(place.batch, place.heads, axis.position, place.key)
    visible = visible_to(problem, axis)
    terms = Terms(own=own_arrays(mechanism, problem.params), bias=bias, captures=problem.captures)
    scorer, factor = folded(scorer_of(mechanism, problem.score_mod, width=query.shape[-1]), query.dtype)
    scores = logits(scorer, query * factor, key, terms, place, visible)
    # A bias of -inf hides too.
    visible = jnp.broadcast_to(visible, scores.shape) & (scores > -jnp.inf)
    return Rows(jnp.where(visible, scores, 0), visible, query, key), place


def visible_to(problem: Problem, queries: Axis) -> Bool[Array, "b n t s"]:
    """Returns which keys some queries see; an axis that is 1 long goes for all."""
    if problem.mask is None:
        return jnp.ones((1, 1, 1, 1), bool)
    return problem.mask.visible(queries, problem.key_axis)
