"""e_ij = F(a_i)^T F(b_j), beta_i = sum_j softmax(e_i:)_j b_j, alpha_j = sum_i softmax(e_:j)_i a_i: Parikh 2016."""

import numpy as np


def _layers(token, params):
    inner = np.maximum(token @ params["first_kernel"] + params["first_bias"], 0)
    return np.maximum(inner @ params["last_kernel"] + params["last_bias"], 0)


def _aligned(row, tokens):
    shares = np.exp(row) / np.exp(row).sum()
    return sum(share * token for share, token in zip(shares, tokens, strict=True))


def pair(first, second, params, *, hidden):
    """Returns beta, alpha and e."""
    affinity = np.array([[_layers(a, params) @ _layers(b, params) for b in second] for a in first])
    beta = np.stack([_aligned(row, second) for row in affinity])
    return beta, np.stack([_aligned(column, first) for column in affinity.T]), affinity
