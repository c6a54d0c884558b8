"""s_t q.k / sqrt(H), s_t = 1 + a log(1 + floor((t + 1) / N)), or 1 + a log(max((t + 1) / N, 1)): Llama 4; Inkling."""

import numpy as np

from tests.oracle.rows import by_rows, scores, softmax


def position_temperature(*, rate, start, smooth):
    def weights(query, keys, place, own, params, head):
        steps = np.log(max((own + 1) / start, 1)) if smooth else np.log(1 + (own + 1) // start)
        return softmax((1 + rate * steps) * scores(query, keys))

    return by_rows(weights)
