"""Weights of a row of scaled dot products in loops: what the oracles of row normalisers share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result


def scores(query: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """q . k / sqrt(H) of one query with each key."""
    return np.array([query @ key / len(query) ** 0.5 for key in keys])


def by_rows(weights: Callable[..., Any]) -> Whole:
    """A whole problem from the weights of one row.

    Args:
      weights: (query [H], the keys it sees [s, J], their positions [s], its position, params, query head) -> [s].
    """

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group = heads // key.shape[2]
        out = np.zeros((*query.shape[:3], value.shape[-1]))
        found = np.zeros((batch, heads, queries, key.shape[1]))
        for b, n, i in np.ndindex(batch, heads, queries):
            seen = np.flatnonzero(visible[b, n, i])
            if not len(seen):
                continue
            own, place = (side[b % len(side)] for side in positions)
            row = weights(query[b, i, n], key[b, seen, n // group], place[seen], own[i], params, n)
            found[b, n, i, seen] = row
            out[b, i, n] = sum(w * value[b, j, n // group] for w, j in zip(row, seen, strict=True))
        return Result(out, found)

    return Whole(run)


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z_j) / sum_l exp(z_l)."""
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()
