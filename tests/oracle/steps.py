"""Alignments one query after the other, in loops: what their oracles share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result


def aligned(start: Callable[..., Any], step: Callable[..., Any]) -> Whole:
    """A whole problem from one step of one head.

    Args:
      start: (number of keys) -> the state.
      step: (state, query [H], keys [S, J], seen [S], their positions [S], params, query head, key head) -> the weights
        [S] and the next state. It is not called for a query that sees nothing, which leaves the state.
    """

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        keys, group = key.shape[1], heads // key.shape[2]
        out, weights = np.zeros((*query.shape[:3], value.shape[-1])), np.zeros((batch, heads, queries, keys))
        for b, n in np.ndindex(batch, heads):
            state = start(keys)
            for i in range(queries):
                if not visible[b, n, i].any():
                    continue
                place = positions[1][b % len(positions[1])]
                row, state = step(
                    state, query[b, i, n], key[b, :, n // group], visible[b, n, i], place, params, n, n // group
                )
                weights[b, n, i] = np.where(visible[b, n, i], row, 0)
                out[b, i, n] = sum(weights[b, n, i, j] * value[b, j, n // group] for j in range(keys))
        return Result(out, weights)

    return Whole(run)


def softmax(scores: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The softmax of the scores of the keys that are seen, 0 for the others."""
    unnormalised = np.where(seen, np.exp(np.where(seen, scores, 0) - scores[seen].max()), 0)
    return unnormalised / unnormalised.sum()


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def stops(query: np.ndarray, keys: np.ndarray, params: Any, head: int, kv_head: int, hard: bool) -> np.ndarray:
    """The probability that each key stops the head: Raffel et al. 2017, equations 9 and 16."""
    value = params["gain"][head] * params["value"][head] / np.sqrt(params["value"][head] @ params["value"][head])
    energy = [
        value @ np.tanh(query @ params["query"][head] + key @ params["key"][kv_head] + params["hidden_bias"][head])
        + params["bias"][head]
        for key in keys
    ]
    return (np.array(energy) > 0).astype(float) if hard else sigmoid(np.array(energy))


def moved(before: np.ndarray | None, stop: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Raffel et al. 2017, equation 8: a_ij = p_ij sum over k <= j of a_i-1,k prod over k <= l < j of (1 - p_il)."""
    stop = np.where(seen, stop, 0)
    if before is None:
        before = np.eye(len(stop))[np.flatnonzero(seen)[0]]
    return np.array([stop[j] * sum(before[k] * np.prod(1 - stop[k:j]) for k in range(j + 1)) for j in range(len(stop))])


def chunk(stopped: np.ndarray, energy: np.ndarray, seen: np.ndarray, window: int) -> np.ndarray:
    """Chiu & Raffel 2018, equations 18 and 20: the softmax over the window that ends where the head stops, expected."""
    weights = np.zeros(len(stopped))
    for k in range(len(stopped)):
        places = [j for j in range(max(0, k - window + 1), k + 1) if seen[j]]
        if stopped[k] and places:
            highest = max(energy[places])
            total = sum(np.exp(energy[j] - highest) for j in places)
            for j in places:
                weights[j] += stopped[k] * np.exp(energy[j] - highest) / total
    return weights


def chunk_energy(query: np.ndarray, keys: np.ndarray, params: Any, head: int, kv_head: int) -> np.ndarray:
    """The energies of the soft attention: v^T tanh(W s + V h + b), with arrays of their own."""
    hidden = query @ params["chunk_query"][head] + params["chunk_bias"][head]
    return np.array(
        [params["chunk_value"][head] @ np.tanh(hidden + key @ params["chunk_key"][kv_head]) for key in keys]
    )
