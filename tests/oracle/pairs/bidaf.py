"""S_tj = w^T [h; u; h * u], u~_t = sum_j softmax(S_t:)_j u_j, h~ = sum_t softmax(max_j S_tj) h_t: Seo et al. 2016."""

import numpy as np


def pair(first, second, params):
    """Returns u~ of each token, h~ and the affinity."""
    weight = np.concatenate([params["first"], params["second"], params["product"]])
    affinity = np.array([[weight @ np.concatenate([h, u, h * u]) for u in second] for h in first])
    asked = []
    for row in affinity:
        shares = np.exp(row) / np.exp(row).sum()
        asked.append(sum(share * u for share, u in zip(shares, second, strict=True)))
    best = np.array([row.max() for row in affinity])
    shares = np.exp(best) / np.exp(best).sum()
    return np.stack(asked), sum(share * h for share, h in zip(shares, first, strict=True)), affinity
