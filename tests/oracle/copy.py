"""exp(tanh(h W_c) s) over the exponentials of all that is copied and generated: Gu et al. 2016, equations 4 to 8."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result


def copy():
    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group = heads // key.shape[2]
        out = np.zeros((*query.shape[:3], value.shape[-1]))
        weights = np.zeros((batch, heads, queries, key.shape[1]))
        lse = np.full((batch, heads, queries), -np.inf)
        for b, n, i in np.ndindex(batch, heads, queries):
            seen = np.flatnonzero(visible[b, n, i])
            if not len(seen):
                continue
            weight = params["weight"][n // group]
            copied = {j: np.exp(np.tanh(key[b, j, n // group] @ weight) @ query[b, i, n]) for j in seen}
            total = np.exp(per_token["generate"][b, i, n]) + sum(copied.values())
            lse[b, n, i] = np.log(total)
            for j in seen:
                weights[b, n, i, j] = copied[j] / total
                out[b, i, n] += weights[b, n, i, j] * value[b, j, n // group]
        return Result(out, weights, lse)

    return Whole(run)
