"""Zhang et al. 2025, equations 3.1 to 3.4: sums of outer products, token by token."""

import numpy as np

from tests.oracle.mixers.mla import turn


def product(row, params, name, rank, position):
    """1/R sum_r a_r (outer) b_r of one token, [N, H]; b_r turned where there is a position."""
    total = 0
    for r in range(rank):
        of_heads, channels = (
            row @ params[f"{name}_{part}"]["kernel"][:, r] + params[f"{name}_{part}"]["bias"][r]
            for part in ("heads", "channels")
        )
        total = total + np.outer(of_heads, channels if position is None else turn(channels, position))
    return total / rank


def mix(x, params, visible, *, heads, query_rank, key_rank, value_rank):
    """What each token of x [T, D] gathers, [T, D]."""
    q = [product(row, params, "query", query_rank, i) for i, row in enumerate(x)]
    k = [product(row, params, "key", key_rank, i) for i, row in enumerate(x)]
    v = [product(row, params, "value", value_rank, None) for row in x]
    out = np.tile(params["out"]["bias"], (len(x), 1))
    for i in range(len(x)):
        seen = np.flatnonzero(visible[i])
        for n in range(heads if len(seen) else 0):
            z = np.array([q[i][n] @ k[j][n] for j in seen]) / np.sqrt(len(q[i][n]))
            weights = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            out[i] += sum(w * v[j][n] for w, j in zip(weights, seen, strict=True)) @ params["out"]["kernel"][n]
    return out
