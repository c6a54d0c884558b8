"""The softmax over a query's own block and the past blocks of the highest q . mean(K): Lu et al. 2025, section 2.2."""

import numpy as np

from tests.oracle.rows import by_rows, scores, softmax


def moba(block, top_k):
    def weights(query, keys, places, place, params, head):
        own = (len(keys) - 1) // block
        gate = [query @ np.mean(keys[c * block : (c + 1) * block], axis=0) for c in range(own)]
        best = sorted(range(own), key=lambda c: gate[c], reverse=True)[: top_k - 1]
        chosen = [j for c in [*best, own] for j in range(c * block, min((c + 1) * block, len(keys)))]
        row = np.zeros(len(keys))
        row[chosen] = softmax(scores(query, keys[chosen]))
        return row

    return by_rows(weights)
