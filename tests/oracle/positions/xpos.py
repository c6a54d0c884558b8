"""Sun et al. 2022, section 3.2, distances over scale_base as in the authors' code."""

import cmath
import math


def logit(query, key, place, head, params, *, base, pairs, gamma, scale_base):
    """One logit."""
    half, distance = len(query) // 2, place[0] - place[1]
    total = 0.0
    for c in range(half):
        first, second = (c, c + half) if pairs == "half" else (2 * c, 2 * c + 1)
        zeta = (c / half + gamma) / (1 + gamma)
        power = zeta ** (distance / scale_base) * cmath.exp(1j * distance * base ** (-c / half))
        total += (complex(query[first], query[second]) * complex(key[first], key[second]).conjugate() * power).real
    return total / math.sqrt(len(query))
