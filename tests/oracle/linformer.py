"""softmax(q (E^T k)^T / sqrt H) (F^T v), what padding hides left out of k and v: Wang et al. 2020, equation 7."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def linformer(rank, sharing):
    def projected(tokens, real, params, name, head):
        found = np.zeros((rank, tokens.shape[-1]))
        matrix = params.get("projection", params.get(f"{name}_projection"))
        matrix = matrix[head] if sharing == "none" else matrix
        for j in np.flatnonzero(real):
            found += np.outer(matrix[j], tokens[j])
        return found

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        out = np.zeros((*query.shape[:3], value.shape[-1]))
        for b, n in np.ndindex(batch, heads):
            head, real = n // (heads // key.shape[2]), visible[b, n, 0]
            if not real.any():
                continue
            few_keys = projected(key[b, :, head], real, params, "key", head)
            few_values = projected(value[b, :, head], real, params, "value", head)
            for i in range(queries):
                out[b, i, n] = softmax(scores(query[b, i, n], few_keys)) @ few_values
        return Result(out)

    return Whole(run)
