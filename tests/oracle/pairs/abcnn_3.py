"""ABCNN-2 of the tokens beside the feature maps of ABCNN-1: Yin et al. 2015, section 4, without the convolution."""

import numpy as np


def pair(first, second, params, *, window):
    """Returns the sums over windows of both, and the match scores of the tokens beside their maps."""

    def scores(these, those):
        return np.array([[1 / (1 + np.sqrt(((x - y) ** 2).sum())) for y in those] for x in these])

    def beside(tokens, affinity):
        maps = [sum(row[s] * params["weight"][s] for s in range(len(row))) for row in affinity]
        return np.stack([np.concatenate([token, map]) for token, map in zip(tokens, maps, strict=True)])

    before = scores(first, second)
    first, second = beside(first, before), beside(second, before.T)
    affinity = scores(first, second)

    def pooled(tokens, weights):
        places = range(len(tokens) - window + 1)
        return np.stack([sum(weights[k] * tokens[k] for k in range(j, j + window)) for j in places])

    return pooled(first, affinity.sum(1)), pooled(second, affinity.sum(0)), affinity
