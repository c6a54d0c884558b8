"""w^T tanh(W s + V h_j + U f_j + b), f = F * w before: Chorowski et al. 2015, equations 5, 8 and 9."""

import numpy as np

from tests.oracle.steps import aligned, softmax


def location_sensitive(*, hidden, filters, width, cumulative):
    def step(state, query, keys, seen, place, params, head, kv_head):
        scores = np.zeros(len(keys))
        for j, key in enumerate(keys):
            window = [state[j + w - width // 2] if 0 <= j + w - width // 2 < len(keys) else 0 for w in range(width)]
            features = params["filters"] @ np.array(window)
            units = query @ params["query"][head] + key @ params["key"][kv_head] + features @ params["location"][head]
            scores[j] = params["value"][head] @ np.tanh(units + params["bias"][head])
        weights = softmax(scores, seen)
        return weights, state + weights if cumulative else weights

    return aligned(np.zeros, step)
