"""C = tanh(Q^T W_b V), H_v = tanh(W_v V + (W_q Q) C), H_q = tanh(W_q Q + (W_v V) C^T): Lu et al. 2016, equation 4."""

import numpy as np


def _mean(scores, tokens):
    weights = np.exp(scores) / np.exp(scores).sum()
    return sum(weight * token for weight, token in zip(weights, tokens, strict=True))


def pair(first, second, params, *, hidden):
    """Returns the vectors of both and the affinity."""
    affinity = np.tanh([[q @ params["affinity"] @ v for v in second] for q in first])
    of_first = [params["first_hidden"] @ q for q in first]
    of_second = [params["second_hidden"] @ v for v in second]
    first_scores = []
    for t in range(len(first)):
        inner = of_first[t] + sum(affinity[t, s] * of_second[s] for s in range(len(second)))
        first_scores.append(params["first_weight"] @ np.tanh(inner))
    second_scores = []
    for s in range(len(second)):
        inner = of_second[s] + sum(affinity[t, s] * of_first[t] for t in range(len(first)))
        second_scores.append(params["second_weight"] @ np.tanh(inner))
    return _mean(first_scores, first), _mean(second_scores, second), affinity
