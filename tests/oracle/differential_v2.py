"""softmax(q k^T / sqrt H) v - sigmoid(gate) softmax(q' k^T / sqrt H) v: Ye et al. 2026."""

import numpy as np

from tests.oracle.equations import Whole
from tests.oracle.functions import sigmoid
from tests.oracle.loops import Result
from tests.oracle.rows import by_rows, scores, softmax


def differential_v2():
    plain = by_rows(lambda query, keys, *others: softmax(scores(query, keys)))

    def run(query, key, value, params, per_token, visible, positions):
        first, second = (plain.run(q, key, value, params, {}, visible, positions) for q in (query, per_token["second"]))
        share = sigmoid(np, per_token["gate"])[..., None]
        return Result(first.out - share * second.out, first.weights - share.swapaxes(1, 2) * second.weights)

    return Whole(run)
