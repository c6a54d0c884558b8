"""b_ij prod_{j < l < i} (1 - b_il), the products themselves: Tan et al. 2024, equation 2."""

import numpy as np

from tests.oracle.rows import by_rows, scores


def stick_breaking(*, own):
    see_itself = own

    def weights(query, keys, place, own, params, head):
        share = 1 / (1 + np.exp(-scores(query, keys)))
        share = np.where((place != own) | see_itself, share, 0)
        return np.array([share[j] * np.prod(1 - share[place > place[j]]) for j in range(len(keys))])

    return by_rows(weights)
