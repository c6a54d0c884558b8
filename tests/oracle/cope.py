"""softmax(z_ij + q_i . e[p_ij]), p_ij = sum_{j <= l <= i} sigmoid(z_il): Golovneva et al. 2024, equations 3 to 5."""

import numpy as np

from tests.oracle.rows import by_rows, scores, softmax


def cope(*, positions):
    def weights(query, keys, place, own, params, head):
        z = scores(query, keys)
        logits = np.zeros(len(keys))
        for j in range(len(keys)):
            counted = sum(1 / (1 + np.exp(-z[k])) for k in range(len(keys)) if place[k] >= place[j])
            counted = min(counted, positions - 1)
            below, above = int(np.floor(counted)), int(np.ceil(counted))
            share = counted - below
            entry = (1 - share) * params["table"][:, below] + share * params["table"][:, above]
            logits[j] = z[j] + query @ entry
        return softmax(logits)

    return by_rows(weights)
