"""Ma et al. 2022, equations 4 to 16, token by token; less its input, which the block adds."""

import numpy as np

from tests.oracle.mixers.mla import turn


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def mix(x, params, visible, *, heads, average, shared, values, chunk):
    """What each token of x [T, D] gathers, [T, D]."""

    def linear(row, name):
        return row @ params[f"{name}_channels"]["kernel"] + params[f"{name}_channels"]["bias"]

    def silu(row):
        return row * sigmoid(row)

    alpha, delta = sigmoid(params["mixer_alpha"]), sigmoid(params["mixer_delta"])
    real, h, smooth = visible[-1], np.zeros(alpha.shape), np.zeros(x.shape)
    for t in np.flatnonzero(real):
        for d in range(x.shape[1]):
            h[d] = alpha[d] * params["mixer_beta"][d] * x[t, d] + (1 - alpha[d] * delta[d]) * h[d]
            smooth[t, d] = params["mixer_eta"][d] @ h[d]
    z = [silu(linear(row, "shared")) for row in smooth]
    scales, shifts = params["mixer_scales"], params["mixer_shifts"]
    q, k = ([turn(row * scales[n] + shifts[n], t) for t, row in enumerate(z)] for n in (0, 1))
    v = [silu(linear(row, "value")) for row in x]
    out = np.zeros(x.shape)
    for i in np.flatnonzero(real):
        seen = [j for j in np.flatnonzero(visible[i]) if j // chunk == i // chunk]
        logits = np.array([q[i] @ k[j] for j in seen]) / np.sqrt(shared)
        weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        o = sum(w * v[j] for w, j in zip(weights, seen, strict=True))
        gated = silu(linear(smooth[i], "reset")) * o
        candidate = silu(linear(smooth[i], "candidate") + gated @ params["gathered_channels"]["kernel"])
        out[i] = sigmoid(linear(smooth[i], "update")) * (candidate - x[i])
    return out
