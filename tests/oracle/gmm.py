"""phi(t, u) = sum_m a_m exp(-b_m (kappa_m - u)^2), kappa_t = kappa_t-1 + exp(c): Graves 2013, equations 46 to 51."""

import numpy as np

from tests.oracle.steps import aligned


def gmm(*, components):
    def step(state, query, keys, seen, place, params, head, kv_head):
        height, narrowness, move = np.split(query @ params["weight"][head] + params["bias"][head], 3)
        state = state + np.exp(move)
        weights = [sum(np.exp(height) * np.exp(-np.exp(narrowness) * (state - (u + 1)) ** 2)) for u in place]
        return np.array(weights), state

    return aligned(lambda keys: np.zeros(components), step)
