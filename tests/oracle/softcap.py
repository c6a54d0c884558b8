"""softmax(c tanh(z / c)): Gemma Team 2024, section 2."""

import numpy as np

from tests.oracle.rows import by_rows, scores, softmax


def softcap(*, cap):
    return by_rows(lambda query, keys, place, own, params, head: softmax(cap * np.tanh(scores(query, keys) / cap)))
