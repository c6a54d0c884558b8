"""softmax(z_ij - sum_{k < i} relu(z_kj of head 0)), j neither k nor the first: Leviathan et al. 2024, section 3."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def selective():
    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group, keys = heads // key.shape[2], key.shape[1]
        out, found = np.zeros((*query.shape[:3], value.shape[-1])), np.zeros((batch, heads, queries, keys))
        for b, n, i in np.ndindex(batch, heads, queries):
            seen = np.flatnonzero(visible[b, n, i])
            if not len(seen):
                continue
            z = scores(query[b, i, n], key[b, :, n // group])
            for k, j in np.ndindex(i, keys):
                sees = np.flatnonzero(visible[b, 0, k])
                if visible[b, 0, k, j] and visible[b, 0, k, k] and j != k and j != sees[0]:
                    z[j] -= max(query[b, k, 0] @ key[b, j, 0] / len(query[b, k, 0]) ** 0.5, 0)
            found[b, n, i, seen] = softmax(z[seen])
            out[b, i, n] = found[b, n, i] @ value[b, :, n // group]
        return Result(out, found)

    return Whole(run)
