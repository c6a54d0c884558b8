"""[(alpha - 1) z - tau]_+^(1 / (alpha - 1)) with a sum of 1: Correia et al. 2019, equation 5."""

import numpy as np

from tests.oracle.rows import by_rows, scores


def entmax():
    def weights(query, keys, place, own, params, head):
        sharpness = 1 / (1 + np.exp(-params["alpha"][head]))
        z = sharpness * scores(query, keys)
        low, high = z.max() - 1, z.max()
        for _ in range(100):
            middle = (low + high) / 2
            enough = (np.maximum(z - middle, 0) ** (1 / sharpness)).sum() >= 1
            low, high = (middle, high) if enough else (low, middle)
        return np.maximum(z - low, 0) ** (1 / sharpness)

    return by_rows(weights)
