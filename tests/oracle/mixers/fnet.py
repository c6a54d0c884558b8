"""Lee-Thorp et al. 2021, equation 3, by the sums that the transform stands for, over the real tokens alone."""

import cmath

import numpy as np


def mix(x, params, visible, *, heads):
    """What each token of x [T, D] gathers, [T, D]."""
    real = np.flatnonzero(visible[0])
    out, (tokens, width) = np.zeros(x.shape), (len(real), x.shape[1])
    for k, i in enumerate(real):
        for c in range(width):
            total = 0
            for t, j in enumerate(real):
                for d in range(width):
                    total += x[j, d] * cmath.exp(-2j * cmath.pi * (t * k / tokens + d * c / width))
            out[i, c] = total.real
    return out
