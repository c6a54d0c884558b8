"""Each query attends as the mean of its cluster, by itself to the keys that the mean sees most: Vyas et al. 2020."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def grouped(queries, real, planes, clusters, iterations):
    """The cluster of each query, by k-means among the signs of its projections."""
    codes = [[1 if plane[:-1] @ query + plane[-1] > 0 else -1 for plane in planes] for query in queries]
    clusters = min(clusters, len(queries))
    centres = [codes[real[number * len(real) // clusters]] for number in range(clusters)]

    def nearest(code):
        apart = [sum(a != b for a, b in zip(code, centre, strict=True)) for centre in centres]
        return apart.index(min(apart))

    for _ in range(iterations):
        of = [nearest(code) for code in codes]
        for number in range(clusters):
            members = [codes[i] for i in real if of[i] == number]
            if members:
                centres[number] = [1 if sum(bits) >= 0 else -1 for bits in zip(*members, strict=True)]
    return [nearest(code) for code in codes]


def clustered(clusters, top_k, bits, iterations):
    def row(query, centroid, keys):
        found = softmax(scores(centroid, keys))
        if top_k:
            most = np.argsort(-found, kind="stable")[:top_k]
            found[most] = found[most].sum() * softmax(scores(query, keys[most]))
        return found

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, width = query.shape
        out = np.zeros((*query.shape[:3], value.shape[-1]))
        for b, n in np.ndindex(batch, heads):
            head, real = n // (heads // key.shape[2]), [int(j) for j in np.flatnonzero(visible[b, n, 0])]
            if not real:
                continue
            of = grouped(query[b, :, n], real, params["planes"], clusters, iterations)
            for i in range(queries):
                members = [query[b, j, n] for j in real if of[j] == of[i]]
                centroid = sum(members) / len(members) if members else np.zeros(width)
                out[b, i, n] = row(query[b, i, n], centroid, key[b, real, head]) @ value[b, real, head]
        return Result(out)

    return Whole(run)
