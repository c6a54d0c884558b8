"""Li et al. 2023, section 4.1."""

import math


def logit(query, key, place, head, params, *, threshold, width):
    """One logit."""
    i, j = place
    own = {name.removeprefix("position_"): array for name, array in params.items()}
    rate = abs(own["rate"])
    furthest = max(abs(own["threshold"]) * threshold, i, 1)
    share = math.log(rate * abs(i - j) + 1) / math.log(rate * furthest + 1)
    term = own["out_bias"][head[0]]
    for h in range(width):
        term += own["out"][head[0], h] * max(share * own["hidden"][h] + own["hidden_bias"][h], 0.0)
    return query @ key / math.sqrt(len(query)) + term
