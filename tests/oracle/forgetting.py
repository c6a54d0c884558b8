"""softmax(q_i . k_j / sqrt(H) + D_ij), D_ij = sum_{j < l <= i} log sigmoid(gate_l): Lin et al. 2025, section 3."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def forgetting():
    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group = heads // key.shape[2]
        out, found = np.zeros((*query.shape[:3], value.shape[-1])), np.zeros((batch, heads, queries, key.shape[1]))
        lse = np.full(found.shape[:3], -np.inf)
        for b, n, i in np.ndindex(batch, heads, queries):
            seen = np.flatnonzero(visible[b, n, i])
            if not len(seen):
                continue
            own, places = per_token["gate"][b, :, n // group], positions[1][b % len(positions[1])]
            z = scores(query[b, i, n], key[b, seen, n // group])
            for at, j in enumerate(seen):
                z[at] += sum(-np.log1p(np.exp(-own[k])) for k in seen if places[k] > places[j])
            found[b, n, i, seen] = softmax(z)
            lse[b, n, i] = z.max() + np.log(np.exp(z - z.max()).sum())
            out[b, i, n] = found[b, n, i] @ value[b, :, n // group]
        return Result(out, found, lse)

    return Whole(run)
