"""Zhai et al. 2021, equations 2 to 4, channel by channel."""

import numpy as np


def mix(x, params, visible, *, heads, form, window, factors):
    """What each token of x [T, D] gathers, [T, D]."""
    tokens, width = x.shape
    q, k, v = (x @ params[name]["kernel"][..., 0] + params[name]["bias"][:, 0] for name in ("query", "key", "value"))
    w = np.zeros((tokens, tokens))
    for i, j in np.ndindex(tokens, tokens):
        if form == "full" or (form == "local" and abs(i - j) < window):
            places = params.get("mixer_places")
            pair = params["mixer_query_places"][i] @ params["mixer_key_places"][j] if factors else places[i, j]
            w[i, j] = pair
    out = np.tile(params["out"]["bias"], (tokens, 1))
    for i in range(tokens):
        for c in range(width):
            seen = np.flatnonzero(visible[i])
            if not len(seen):
                continue
            weights = np.array([np.exp(k[j, c] + w[i, j]) for j in seen])
            y = (weights @ v[seen, c]) / weights.sum() / (1 + np.exp(-q[i, c]))
            out[i] += y * params["out"]["kernel"][c, 0]
    return out
