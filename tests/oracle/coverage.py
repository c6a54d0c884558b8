"""v^T tanh(W_h h_j + W_s s_t + w_c c_tj + b), c the sum of earlier weights: See et al. 2017, equations 10 and 11."""

import numpy as np

from tests.oracle.steps import aligned, softmax


def coverage(*, hidden):
    def step(state, query, keys, seen, place, params, head, kv_head):
        scores = np.zeros(len(keys))
        for j, key in enumerate(keys):
            units = query @ params["query"][head] + key @ params["key"][kv_head] + state[j] * params["covered"][head]
            scores[j] = params["value"][head] @ np.tanh(units + params["bias"][head])
        weights = softmax(scores, seen)
        return weights, state + weights

    return aligned(np.zeros, step)
