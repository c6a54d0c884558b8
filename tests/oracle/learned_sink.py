"""exp(z_j) / (exp(sink) + sum_l exp(z_l)): OpenAI 2025 (gpt-oss), section 2."""

import numpy as np

from tests.oracle.rows import by_rows, scores, softmax


def learned_sink():
    def weights(query, keys, place, own, params, head):
        return softmax(np.append(scores(query, keys), params["sink"][head]))[:-1]

    return by_rows(weights)
