"""Raffel et al. 2019, section 2.1; the buckets of the authors' code, with its logarithm in float64."""

import math


def bucket(relative, buckets, furthest, bidirectional):
    """The bucket of j - i."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if relative > 0 else 0
        n = abs(relative)
    else:
        n = max(-relative, 0)
    exact = buckets // 2
    if n < exact:
        return first + n
    wide = exact + int(math.log(n / exact) / math.log(furthest / exact) * (buckets - exact) + 1e-9)
    return first + min(wide, buckets - 1)


def logit(query, key, place, head, params, *, buckets, furthest, bidirectional):
    """One logit."""
    i, j = place
    term = params["position_table"][head[0], bucket(j - i, buckets, furthest, bidirectional)]
    return query @ key / math.sqrt(len(query)) + term
