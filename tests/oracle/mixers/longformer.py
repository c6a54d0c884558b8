"""Beltagy et al. 2020, section 3.1, token by token."""

import numpy as np


def mix(x, params, visible, *, heads, window, globals):
    """What each token of x [T, D] gathers, [T, D]."""
    out = np.tile(params["out"]["bias"], (len(x), 1))
    for i in range(len(x)):
        prefix = "global_" if i < globals else ""
        near = [j for j in range(len(x)) if i < globals or j < globals or abs(i - j) <= window // 2]
        seen = [j for j in near if visible[i, j]]
        for n in range(heads if seen else 0):
            q, k, v = (
                x @ params[f"{prefix}{name}"]["kernel"][:, n] + params[f"{prefix}{name}"]["bias"][n]
                for name in ("query", "key", "value")
            )
            z = np.array([q[i] @ k[j] for j in seen]) / np.sqrt(q.shape[1])
            weights = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            out[i] += (weights @ v[seen]) @ params["out"]["kernel"][n]
    return out
