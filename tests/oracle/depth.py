"""Stacks that read the layers below them, in plain NumPy: Zhou et al. 2024 and Kimi Team 2026, token by token."""

import numpy as np


def mixed_values(own, first, share):
    """ResFormer: lam v_l + (1 - lam) v_1, of [T, K, H]; lam is a number, or one of each token and head, [T, K]."""
    share = np.broadcast_to(share, own.shape[:2])
    out = np.zeros(own.shape)
    for t, k in np.ndindex(*out.shape[:2]):
        out[t, k] = share[t, k] * own[t, k] + (1 - share[t, k]) * first[t, k]
    return out


def read(query, sources, epsilon=1e-5):
    """Attention Residuals: sum_i softmax_i(w . rms(r_i)) r_i, of sources [T, D] each."""
    out = np.zeros(sources[0].shape)
    for t in range(len(out)):
        logits = np.array([query @ r[t] / np.sqrt(np.mean(r[t] ** 2) + epsilon) for r in sources])
        weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        out[t] = sum(weight * r[t] for weight, r in zip(weights, sources, strict=True))
    return out


def stack(params, x, *, value_residual=None, residual="sum"):
    """Causal pre-norm blocks with a relu, and no biases but those of values, on x [T, D]; returns [T, D]."""
    sources, total, first = [x], x, None
    for number in range(sum(name.startswith("block_") for name in params)):
        block = params[f"block_{number}"]
        for half in ("attention", "feed_forward"):
            h = total if residual == "sum" else read(block[f"{half}_depth"]["query"], sources)
            h = _normed(block[f"{half}_norm"], h)
            if half == "attention":
                value = np.einsum("td,dkh->tkh", h, block[half]["value"]["kernel"]) + block[half]["value"]["bias"]
                first = value if first is None else first
                if value_residual is not None:
                    value = mixed_values(value, first, _share(block[half], h, value_residual))
                out = _attended(block[half], h, value)
            else:
                out = np.maximum(h @ block[half]["hidden"]["kernel"], 0) @ block[half]["out"]["kernel"]
            sources.append(out)
            total = total + out
    return total if residual == "sum" else read(params["out_depth"]["query"], sources)


def _share(params, h, kind):
    if kind == "fixed":
        return 0.5
    share = params["value_residual"]["share"]
    return share if kind == "learned" else 1 / (1 + np.exp(-(h @ share["kernel"] + share["bias"])))


def _attended(params, h, value):
    query, key = (np.einsum("td,dnh->tnh", h, params[name]["kernel"]) for name in ("query", "key"))
    out, group = np.zeros(h.shape), query.shape[1] // key.shape[1]
    for t, n in np.ndindex(*query.shape[:2]):
        logits = np.array([query[t, n] @ key[s, n // group] for s in range(t + 1)]) / np.sqrt(query.shape[2])
        weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        out[t] += weights @ value[: t + 1, n // group] @ params["out"]["kernel"][n]
    return out


def _normed(params, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]
