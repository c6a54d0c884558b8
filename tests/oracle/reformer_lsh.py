"""The softmax over all other tokens that share a chunk, or the one before, in any round: Kitaev et al. 2020."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.functions import unit
from tests.oracle.loops import Result
from tests.oracle.rows import softmax


def reformer_lsh(rounds, buckets, chunk):
    def chunks(query, real, rotation):
        hashes = [np.argmax(np.concatenate([x @ rotation, -(x @ rotation)])) for x in query]
        order = sorted(range(len(query)), key=lambda t: (not real[t], hashes[t], t))
        return {token: place // chunk for place, token in enumerate(order)}

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        group, out = heads // value.shape[2], np.zeros((*query.shape[:3], value.shape[-1]))
        found = np.zeros((batch, heads, queries, queries))
        for b, n in np.ndindex(batch, heads):
            real = visible[b, n].any(0)
            of_rounds = [chunks(query[b, :, n], real, params["rotations"][n, r]) for r in range(rounds)]
            for i in range(queries):
                near = {j for of in of_rounds for j in range(queries) if of[i] - of[j] in (0, 1)}
                seen = [j for j in range(queries) if visible[b, n, i, j] and j in near and j != i]
                if not seen and real[i]:
                    seen = [i]
                if seen:
                    found[b, n, i, seen] = softmax(np.array([query[b, i, n] @ unit(np, query[b, j, n]) for j in seen]))
                out[b, i, n] = found[b, n, i] @ value[b, :, n // group]
        return Result(out, found)

    return Whole(run)
