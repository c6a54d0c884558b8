"""PMA_k(Z) = MAB(S, rFF(Z)), MAB(X, Y) = LN(H + rFF(H)), H = LN(X + Multihead(X, Y, Y)): Lee et al. 2018."""

import numpy as np


def _norm(vector, scale, bias):
    return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5) * scale + bias


def _layer(vector, kernel, bias):
    return np.maximum(vector @ kernel + bias, 0)


def pool(tokens, query, params, *, seeds, heads):
    """Returns out [E] and weights [R, T] of one sequence of real tokens [T, D]."""
    width = tokens.shape[1] // heads
    tokens = [_layer(token, params["before_kernel"], params["before_bias"]) for token in tokens]
    out, rows = [], []
    for seed in params["seeds"]:
        gathered = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            asked = seed @ params["query"][:, part]
            scores = [asked @ (token @ params["key"][:, part]) / np.sqrt(width) for token in tokens]
            weights = np.exp(scores) / np.exp(scores).sum()
            gathered.append(sum(w * (t @ params["value"][:, part]) for w, t in zip(weights, tokens, strict=True)))
            rows.append(weights)
        inner = _norm(seed + np.concatenate(gathered) @ params["out"], params["first_scale"], params["first_bias"])
        behind = _layer(inner, params["behind_kernel"], params["behind_bias"])
        out.append(_norm(inner + behind, params["last_scale"], params["last_bias"]))
    return np.concatenate(out), np.stack(rows)
