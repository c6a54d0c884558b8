"""a_k = sum_j A_kj, F_j = sum over k = j to j + w - 1 of a_k x_k: Yin et al. 2015, section 4, ABCNN-2."""

import numpy as np


def pair(first, second, params, *, window):
    """Returns the sums over windows of both and A."""
    affinity = np.array([[1 / (1 + np.sqrt(((x - y) ** 2).sum())) for y in second] for x in first])

    def pooled(tokens, weights):
        places = range(len(tokens) - window + 1)
        return np.stack([sum(weights[k] * tokens[k] for k in range(j, j + window)) for j in places])

    of_first = [sum(affinity[t]) for t in range(len(first))]
    of_second = [sum(affinity[:, s]) for s in range(len(second))]
    return pooled(first, of_first), pooled(second, of_second), affinity
