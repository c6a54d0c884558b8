"""RMSNorm((softmax(q1 k1^T / sqrt d) - lambda softmax(q2 k2^T / sqrt d)) v) (1 - lambda_init): Ye et al. 2024."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.rows import by_rows, scores, softmax


def differential():
    def weights(query, keys, place, own, params, head):
        half = len(query) // 2
        first = np.exp(sum(a * b for a, b in zip(params["lambda_q1"], params["lambda_k1"], strict=True)))
        second = np.exp(sum(a * b for a, b in zip(params["lambda_q2"], params["lambda_k2"], strict=True)))
        share = first - second + params["lambda_init"]
        one, other = (softmax(scores(query[part], keys[:, part])) for part in (slice(half), slice(half, None)))
        return one - share * other

    def after(out, params):
        for place in np.ndindex(*out.shape[:3]):
            root = np.sqrt((out[place] ** 2).sum() / len(out[place]) + 1e-5)
            out[place] = out[place] / root * params["gain"] * (1 - params["lambda_init"])
        return out

    return Whole(by_rows(weights).run, after)
