"""G = tanh(Q^T U A), r_q = Q softmax(max_l G_jl), r_a = A softmax(max_j G_jl): dos Santos et al. 2016."""

import numpy as np


def _mean(scores, tokens):
    weights = np.exp(scores) / np.exp(scores).sum()
    return sum(weight * token for weight, token in zip(weights, tokens, strict=True))


def pair(first, second, params):
    """Returns r_q, r_a and G."""
    affinity = np.tanh([[q @ params["affinity"] @ a for a in second] for q in first])
    return (
        _mean(np.array([max(row) for row in affinity]), first),
        _mean(np.array([max(column) for column in affinity.T]), second),
        affinity,
    )
