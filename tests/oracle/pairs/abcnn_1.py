"""A_ij = 1 / (1 + |x_i - y_j|), F_1 = A W, F_2 = A^T W: Yin et al. 2015, section 4, ABCNN-1."""

import numpy as np


def pair(first, second, params):
    """Returns the feature maps of both and A."""
    affinity = np.array([[1 / (1 + np.sqrt(((x - y) ** 2).sum())) for y in second] for x in first])
    of_first = [sum(affinity[t, s] * params["weight"][s] for s in range(len(second))) for t in range(len(first))]
    of_second = [sum(affinity[t, s] * params["weight"][t] for t in range(len(first))) for s in range(len(second))]
    return np.stack(of_first), np.stack(of_second), affinity
