"""relu(e^z - 1) / (sum |e^z - 1| + eps): Zuhri et al. 2025, equation 2."""

import numpy as np

from tests.oracle.rows import by_rows, scores


def softpick():
    def weights(query, keys, place, own, params, head):
        raised = np.exp(scores(query, keys)) - 1
        return np.maximum(raised, 0) / (np.abs(raised).sum() + 1e-6)

    return by_rows(weights)
