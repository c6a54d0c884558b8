"""A = softmax(W_2 tanh(W_1 H^T)), M = A H: Lin et al. 2017, equations 6 and 7; P = |A A^T - I|_F^2, equation 8."""

import numpy as np


def pool(tokens, query, params, *, hops, hidden):
    """Returns out [E], weights [R, T] and what is reported of one sequence of real tokens [T, D]."""
    rows = np.zeros((hops, len(tokens)))
    for hop in range(hops):
        scores = [params["hops"][hop] @ np.tanh(params["hidden"] @ token) for token in tokens]
        rows[hop] = np.exp(scores) / np.exp(scores).sum()
    means = [sum(weight * token for weight, token in zip(row, tokens, strict=True)) for row in rows]
    penalty = 0.0
    for i in range(hops):
        for j in range(hops):
            penalty += (sum(rows[i] * rows[j]) - (i == j)) ** 2
    return np.concatenate(means), rows, {"penalty": penalty}
