"""softmax(q k~^T) A^+ softmax(q~ k^T) v, A = softmax(q~ k~^T): Xiong et al. 2021, equations 13 and 14."""

import math

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.loops import Result
from tests.oracle.rows import scores, softmax


def nystrom(landmarks, iterations):
    def means(tokens, real):
        size = math.ceil(len(tokens) / landmarks)
        segments = [[j for j in range(start, start + size) if j in real] for start in range(0, len(tokens), size)]
        return np.array([sum(tokens[j] for j in segment) / len(segment) for segment in segments if segment])

    def pseudo_inverse(matrix):
        one = np.eye(len(matrix))
        found = matrix.T / (np.abs(matrix).sum(0).max() * np.abs(matrix).sum(1).max())
        for _ in range(iterations):
            product = matrix @ found
            found = found @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
        return found

    def run(query, key, value, params, per_token, visible, positions):
        batch, queries, heads, _ = query.shape
        out = np.zeros((*query.shape[:3], value.shape[-1]))
        for b, n in np.ndindex(batch, heads):
            head, real = n // (heads // key.shape[2]), [int(j) for j in np.flatnonzero(visible[b, n, 0])]
            if not real:
                continue
            if queries <= landmarks:
                for i in range(queries):
                    out[b, i, n] = softmax(scores(query[b, i, n], key[b, real, head])) @ value[b, real, head]
                continue
            few_queries, few_keys = means(query[b, :, n], real), means(key[b, :, head], real)
            between = np.array([softmax(scores(q, few_keys)) for q in few_queries])
            read = np.array([softmax(scores(q, key[b, real, head])) @ value[b, real, head] for q in few_queries])
            weighed = pseudo_inverse(between) @ read
            for i in range(queries):
                out[b, i, n] = softmax(scores(query[b, i, n], few_keys)) @ weighed
        return Result(out)

    return Whole(run)
