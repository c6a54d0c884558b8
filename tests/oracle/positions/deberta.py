"""He et al. 2020, equations 3 and 4."""

import math


def relative(i, j, k):
    """The row of the tables, equation 3."""
    if i - j <= -k:
        return 0
    return 2 * k - 1 if i - j >= k else i - j + k


def logit(query, key, place, head, params, *, clip):
    """One logit."""
    (i, j), (n, kv, _) = place, head
    to_position = query @ params["position_keys"][n, relative(i, j, clip)]
    from_position = key @ params["position_queries"][kv, relative(j, i, clip)]
    return (query @ key + to_position + from_position) / math.sqrt(3 * len(query))
