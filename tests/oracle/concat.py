"""softmax(v^T tanh(W [h_t; h_s])): Luong et al. 2015, equation 8."""

import numpy as np

from tests.oracle.rows import by_rows, softmax


def concat(*, hidden):
    def weights(query, keys, place, own, params, head):
        weight, value = params["weight"][head], params["value"][head]
        return softmax(np.array([value @ np.tanh(weight.T @ np.concatenate([query, key])) for key in keys]))

    return by_rows(weights)
