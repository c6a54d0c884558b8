"""DeepSeek-V2 2024, section 2.1, equations 9 to 19, token by token; with the RMS norms of section 3.1.2."""

import numpy as np


def rms(x, scale):
    """x / sqrt(mean x^2 + 1e-5), scaled."""
    return x / np.sqrt(np.mean(x**2) + 1e-5) * scale


def turn(x, position):
    """Channels c and c + half turned by position / 10000^(2c / width)."""
    half = len(x) // 2
    out = x.copy()
    for c in range(half):
        angle = position / 10000 ** (2 * c / len(x))
        out[c] = x[c] * np.cos(angle) - x[c + half] * np.sin(angle)
        out[c + half] = x[c] * np.sin(angle) + x[c + half] * np.cos(angle)
    return out


def mix(x, params, visible, *, heads, latent, query_latent, rotary):
    """What each token of x [T, D] gathers, [T, D]."""
    tokens, width = len(x), x.shape[1] // heads
    c = [rms(row @ params["latent"]["kernel"] + params["latent"]["bias"], params["latent_norm"]["scale"]) for row in x]
    q = [
        rms(
            row @ params["query_latent"]["kernel"] + params["query_latent"]["bias"],
            params["query_latent_norm"]["scale"],
        )
        for row in x
    ]
    k_r = [turn(row @ params["rotary"]["kernel"][:, 0] + params["rotary"]["bias"][0], i) for i, row in enumerate(x)]
    out = np.tile(params["out"]["bias"], (tokens, 1))
    for n in range(heads):
        for i in range(tokens):
            query = q[i] @ params["query"]["kernel"][:, n] + params["query"]["bias"][n]
            content, turned = query[:width], turn(query[width:], i)
            seen = np.flatnonzero(visible[i])
            if not len(seen):
                continue
            z = [
                (content @ (c[j] @ params["key"]["kernel"][:, n]) + turned @ k_r[j]) / np.sqrt(width + rotary)
                for j in seen
            ]
            weights = np.exp(np.array(z) - max(z))
            weights /= weights.sum()
            o = sum(w * (c[j] @ params["value"]["kernel"][:, n]) for w, j in zip(weights, seen, strict=True))
            out[i] += o @ params["out"]["kernel"][n]
    return out
