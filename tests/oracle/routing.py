"""The mean, over the centroids that take a query, of softmax attention to the keys they take: Roy et al. 2020."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.functions import unit
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def routing(clusters, window):
    def taken(tokens, centroid, real):
        nearness = {t: unit(np, x) @ unit(np, centroid) for t, x in enumerate(tokens) if real[t]}
        return sorted(nearness, key=lambda t: -nearness[t])[:window]

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group, out = heads // key.shape[2], np.zeros((*query.shape[:3], value.shape[-1]))
        found = np.zeros((batch, heads, queries, queries))
        for b, n in np.ndindex(batch, heads):
            real, count = visible[b, n].any(0), np.zeros(queries)
            for centroid in params["centroids"][n]:
                keys = taken(key[b, :, n // group], centroid, real)
                for i in taken(query[b, :, n], centroid, real):
                    seen = [j for j in keys if visible[b, n, i, j]]
                    if seen:
                        found[b, n, i, seen] += softmax(scores(query[b, i, n], key[b, seen, n // group]))
                        count[i] += 1
            found[b, n] /= np.maximum(count, 1)[:, None]
            for i in range(queries):
                out[b, i, n] = found[b, n, i] @ value[b, :, n // group]
        return Result(out, found)

    return Whole(run)
