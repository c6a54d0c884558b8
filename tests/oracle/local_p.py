"""align(h_t, h_s) exp(-(s - p_t)^2 / (2 sigma^2)): Luong et al. 2015, equations 9 and 10, sigma = D / 2."""

import numpy as np

from tests.oracle.functions import sigmoid
from tests.oracle.rows import by_rows, softmax


def local_p(window, score):
    assert score == "general"

    def weights(query, keys, place, own, params, head):
        centre = len(keys) * sigmoid(np, params["centre_vector"][head] @ np.tanh(query @ params["centre_weight"][head]))
        near = [s for s in range(len(keys)) if abs(s - centre) <= window]
        found = np.zeros(len(keys))
        found[near] = softmax(np.array([query @ params["weight"][head] @ keys[s] for s in near]))
        return [w * np.exp(-((s - centre) ** 2) / (2 * (window / 2) ** 2)) for s, w in enumerate(found)]

    return by_rows(weights)
