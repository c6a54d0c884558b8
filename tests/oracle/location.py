"""W_a q over the places of the keys, then softmax: Luong et al. 2015, equation 8, "location"."""

import numpy as np

from tests.oracle.rows import by_rows, softmax

# Query heads, in every case.
HEADS = 4


def location():
    def weights(query, keys, place, own, params, head):
        weight = params["weight"][head * len(params["weight"]) // HEADS]
        return softmax(np.array([weight[j] @ query for j in place]))

    return by_rows(weights)
