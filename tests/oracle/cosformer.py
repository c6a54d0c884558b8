"""relu(q_i) . relu(k_j) cos(pi (i - j) / 2M) over its sum: Qin et al. 2022, equation 8."""

import numpy as np

from tests.oracle.rows import by_rows


def cosformer():
    def weights(query, keys, place, own, params, head):
        longest = params["longest"][0]
        kernel = np.array(
            [
                np.maximum(query, 0) @ np.maximum(key, 0) * np.cos(np.pi * (own - j) / (2 * longest))
                for key, j in zip(keys, place, strict=True)
            ]
        )
        return kernel / (kernel.sum() or 1)

    return by_rows(weights)
