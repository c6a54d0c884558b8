"""Attention by explicit loops in NumPy float64 (the oracle), and as one writes it without care (the naive)."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracle.equations import Equation, Recurrence, Whole


@dataclass(frozen=True)
class Result:
    """What the oracle computes: out [B, T, N, Hv], weights [B, N, T, S], lse [B, N, T]; a recurrence has out alone."""

    out: np.ndarray
    weights: np.ndarray | None = None
    lse: np.ndarray | None = None


def oracle(
    equation: Equation | Recurrence | Whole,
    query: Any,
    key: Any,
    value: Any,
    params: Any,
    per_token: Any = None,
    *,
    visible: np.ndarray,
    bias: Any = 0.0,
    keep: np.ndarray | None = None,
    rate: float = 0.0,
) -> Result:
    """Computes attention in float64: scale, bias, mask, normalise, dropout, one query at a time.

    Args:
      equation: the variant.
      query: [B, T, N, H].
      key: [B, S, K, J].
      value: [B, S, K, Hv].
      params: the variant's arrays by name.
      per_token: what it takes of each token beside these, by name, [B, S, K] or [B, S, K, J].
      visible: bool [B, N, T, S]; the equation's own rule holds besides.
      bias: broadcastable to [B, N, T, S].
      keep: bool [B, N, T, S], which weights dropout leaves.
      rate: the share that it does not.
    """
    query, key, value, bias = (np.asarray(array, np.float64) for array in (query, key, value, bias))
    params, per_token = (
        {name: np.asarray(array, np.float64) for name, array in arrays.items()} for arrays in (params, per_token or {})
    )
    if isinstance(equation, Whole):
        places = (np.arange(query.shape[1])[None], np.arange(key.shape[1])[None])
        result = equation.run(query, key, value, params, per_token, visible, places)
        result = result if keep is None else _dropped(result, value, keep, rate)
        return result if equation.after is None else replace(result, out=equation.after(result.out, params))
    if isinstance(equation, Recurrence):
        return Result(_recurrent(equation, query, key, value, params, per_token, visible))
    batch, queries, heads, _ = query.shape
    group = heads // key.shape[2]
    out = np.zeros((batch, queries, heads, value.shape[-1]))
    weights = np.zeros((batch, heads, queries, key.shape[1]))
    lse = np.full((batch, heads, queries), -np.inf)
    bias = np.broadcast_to(bias, weights.shape)
    visible = visible & equation.pairs(queries, key.shape[1])
    for b, n, i in np.ndindex(batch, heads, queries):
        seen = np.flatnonzero(visible[b, n, i])
        if seen.size == 0:
            continue
        scores = np.array(
            [equation.score(np, query[b, i, n], key[b, j, n // group], params, n, n // group) for j in seen]
        )
        biased = scores + bias[b, n, i, seen]
        if equation.normalise is None:
            highest = biased.max() if equation.exponential else 0.0
            unnormalised = np.exp(biased - highest) if equation.exponential else scores
            lse[b, n, i] = highest + np.log(unnormalised.sum())
            weights[b, n, i, seen] = unnormalised / unnormalised.sum()
        else:
            weights[b, n, i, seen] = equation.normalise(biased)
        if keep is not None:
            weights[b, n, i] = np.where(keep[b, n, i], weights[b, n, i] / (1 - rate), 0)
        for j in seen:
            out[b, i, n] += weights[b, n, i, j] * value[b, j, n // group]
    return Result(out, weights, lse)


def _dropped(result: Result, value: np.ndarray, keep: np.ndarray, rate: float) -> Result:
    weights = np.where(keep, result.weights / (1 - rate), 0)
    by_head = np.repeat(value, weights.shape[1] // value.shape[2], axis=2)
    out = np.zeros_like(result.out)
    for b, n, i, j in np.ndindex(*weights.shape):
        out[b, i, n] += weights[b, n, i, j] * by_head[b, j, n]
    return Result(out, weights)


def _recurrent(
    equation: Recurrence, query: Any, key: Any, value: Any, params: Any, per_token: Any, visible: np.ndarray
) -> np.ndarray:
    """For each query on its own: the state of the tokens that it sees, in their order, and what it reads there."""
    batch, queries, heads, _ = query.shape
    group, out = heads // key.shape[2], np.zeros((batch, queries, heads, value.shape[-1]))
    for b, n, i in np.ndindex(batch, heads, queries):
        head, state = n // group, np.zeros((key.shape[-1], value.shape[-1]))
        for j in np.flatnonzero(visible[b, n, i]):
            token = {name: array[b, j, head] for name, array in per_token.items()}
            state = equation.step(np, state, key[b, j, head], value[b, j, head], params, token, head)
        out[b, i, n] = equation.read(np, state, query[b, i, n])
    return out


def naive(
    equation: Equation | Recurrence,
    query: Any,
    key: Any,
    value: Any,
    params: Any,
    per_token: Any = None,
    *,
    visible: np.ndarray,
) -> jax.Array:
    """Computes attention wholly in the dtype of the query, [B, T, N, Hv]; `visible` [T, S] leaves every query a key.

    A recurrence goes over the tokens once: `visible` must be causal.
    """
    if isinstance(equation, Recurrence):
        assert (visible == np.tri(*visible.shape, dtype=bool)).all()
        return _naive_recurrence(equation, query, key, value, params, per_token or {})
    visible = visible & equation.pairs(query.shape[1], key.shape[1])
    heads = query.shape[2]
    group = heads // key.shape[2]
    params = {name: array.astype(query.dtype) for name, array in params.items()}
    key, value = jnp.repeat(key, group, axis=2), jnp.repeat(value, group, axis=2)

    def score(query, key, head, kv_head):
        return equation.score(jnp, query, key, params, head, kv_head)

    over_keys = jax.vmap(score, in_axes=(None, 0, None, None))
    over_queries = jax.vmap(over_keys, in_axes=(0, None, None, None))
    over_heads = jax.vmap(over_queries, in_axes=(1, 1, 0, 0))
    scores = jax.vmap(over_heads, in_axes=(0, 0, None, None))(query, key, np.arange(heads), np.arange(heads) // group)
    if equation.naive is not None:
        weights = equation.naive(jnp.where(visible, scores, -jnp.inf))
    elif equation.exponential:
        weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf))
    else:
        weights = jnp.where(visible, scores, 0)
        weights = weights / weights.sum(-1, keepdims=True)
    return jnp.einsum("bnts,bsnh->btnh", weights, value)


def _naive_recurrence(
    equation: Recurrence, query: Any, key: Any, value: Any, params: Any, per_token: dict[str, Any]
) -> jax.Array:
    heads = query.shape[2]
    group = heads // key.shape[2]
    params = {name: array.astype(query.dtype) for name, array in params.items()}
    tokens = (key, value, per_token)
    tokens = (query, *jax.tree.map(lambda array: jnp.repeat(array, group, axis=2), tokens))

    def one_head(tokens: Any, head: Any) -> jax.Array:
        def step(state: jax.Array, token: Any) -> tuple[jax.Array, jax.Array]:
            query, key, value, per_token = token
            state = equation.step(jnp, state, key, value, params, per_token, head).astype(state.dtype)
            return state, equation.read(jnp, state, query)

        return jax.lax.scan(step, jnp.zeros((key.shape[-1], value.shape[-1]), query.dtype), tokens)[1]

    over_heads = jax.vmap(one_head, in_axes=(1, 0), out_axes=1)
    return jax.vmap(over_heads, in_axes=(0, None))(tokens, np.arange(heads) // group)
