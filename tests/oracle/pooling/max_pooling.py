"""The greatest of each channel, in plain loops."""

import numpy as np


def pool(hidden, query, params):
    out = np.array([max(token[channel] for token in hidden) for channel in range(hidden.shape[1])])
    return out, None
