"""P_w softmax(P_l z): Shazeer et al. 2020, section 3; a head that does not see a key gives a logit of 0."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def talking_heads():
    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group, keys = heads // key.shape[2], key.shape[1]
        out, found = np.zeros((*query.shape[:3], value.shape[-1])), np.zeros((batch, heads, queries, keys))
        for b, i in np.ndindex(batch, queries):
            seen = visible[b, :, i]
            z = [np.where(seen[n], scores(query[b, i, n], key[b, :, n // group]), 0) for n in range(heads)]
            mixed = params["logits"].T @ np.array(z)
            rows = np.zeros((heads, keys))
            for n in range(heads):
                if seen[n].any():
                    rows[n, seen[n]] = softmax(mixed[n, seen[n]])
            found[b, :, i] = np.where(seen, params["weights"].T @ rows, 0)
            for n in range(heads):
                out[b, i, n] = found[b, n, i] @ value[b, :, n // group]
        return Result(out, found)

    return Whole(run)
