"""Attention by explicit loops in NumPy float64 (the oracle), and as one writes it without care (the naive)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracle.equations import Equation


@dataclass(frozen=True)
class Result:
    """What the oracle computes: out [B, T, N, Hv], weights [B, N, T, S], lse [B, N, T]."""

    out: np.ndarray
    weights: np.ndarray
    lse: np.ndarray


def oracle(
    equation: Equation,
    query: Any,
    key: Any,
    value: Any,
    params: Any,
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
      visible: bool [B, N, T, S]; the equation's own rule holds besides.
      bias: broadcastable to [B, N, T, S].
      keep: bool [B, N, T, S], which weights dropout leaves.
      rate: the share that it does not.
    """
    query, key, value, bias = (np.asarray(array, np.float64) for array in (query, key, value, bias))
    params = {name: np.asarray(array, np.float64) for name, array in params.items()}
    batch, queries, heads, _ = query.shape
    group = heads // key.shape[2]
    out = np.zeros((batch, queries, heads, value.shape[-1]))
    weights = np.zeros((batch, heads, queries, key.shape[1]))
    lse = np.full((batch, heads, queries), -np.inf)
    bias = np.broadcast_to(bias, weights.shape)
    for b, n, i in np.ndindex(batch, heads, queries):
        seen = np.array([j for j in range(key.shape[1]) if visible[b, n, i, j] and equation.sees(i, j)], int)
        if seen.size == 0:
            continue
        scores = np.array(
            [equation.score(np, query[b, i, n], key[b, j, n // group], params, n, n // group) for j in seen]
        )
        highest = (scores + bias[b, n, i, seen]).max() if equation.exponential else 0.0
        unnormalised = np.exp(scores + bias[b, n, i, seen] - highest) if equation.exponential else scores
        lse[b, n, i] = highest + np.log(unnormalised.sum())
        weights[b, n, i, seen] = unnormalised / unnormalised.sum()
        if keep is not None:
            weights[b, n, i] = np.where(keep[b, n, i], weights[b, n, i] / (1 - rate), 0)
        for j in seen:
            out[b, i, n] += weights[b, n, i, j] * value[b, j, n // group]
    return Result(out, weights, lse)


def naive(equation: Equation, query: Any, key: Any, value: Any, params: Any, *, visible: np.ndarray) -> jax.Array:
    """Computes attention wholly in the dtype of the query, [B, T, N, Hv]; `visible` must leave every query a key."""
    visible = visible & np.array([[equation.sees(i, j) for j in range(key.shape[1])] for i in range(query.shape[1])])
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
    if equation.exponential:
        weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf))
    else:
        weights = jnp.where(visible, scores, 0)
        weights = weights / weights.sum(-1, keepdims=True)
    return jnp.einsum("bnts,bsnh->btnh", weights, value)
