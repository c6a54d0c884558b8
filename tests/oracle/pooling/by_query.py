"""alpha_t = exp(q^T W h_t) / sum: Luong et al. 2015, equation 8; without q, u_t = tanh(W h_t + b), alpha_t =
exp(u_t^T u_w) / sum, s = sum alpha_t h_t: Yang et al. 2016, equations 5 to 7."""

import numpy as np


def pool(tokens, query, params, *, hidden):
    """Returns out [E] and weights [R, T] of one sequence of real tokens [T, D]."""
    if query is not None:
        scores = [query @ params["weight"] @ token for token in tokens]
    else:
        scores = [params["context"] @ np.tanh(params["hidden"] @ token + params["bias"]) for token in tokens]
    weights = np.exp(scores) / np.exp(scores).sum()
    return sum(weight * token for weight, token in zip(weights, tokens, strict=True)), weights[None]
