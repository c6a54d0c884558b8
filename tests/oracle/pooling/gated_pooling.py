"""a_k = exp(w^T (tanh(V h_k) * sigm(U h_k))) / sum, z = sum a_k h_k: Ilse et al. 2018, equations 7 and 9."""

import numpy as np


def pool(tokens, query, params, *, hidden):
    """Returns out [E] and weights [R, T] of one sequence of real tokens [T, D]."""
    scores = []
    for token in tokens:
        gate = 1 / (1 + np.exp(-params["gate"] @ token))
        scores.append(params["weight"] @ (np.tanh(params["hidden"] @ token) * gate))
    weights = np.exp(scores) / np.exp(scores).sum()
    return sum(weight * token for weight, token in zip(weights, tokens, strict=True)), weights[None]
