"""Chi et al. 2022, section 4."""

import math


def logit(query, key, place, head, params, *, kind):
    """One logit."""
    r1, own = math.exp(params["position_r1"][head[0]]), params["position_r2"][head[0]]
    distance = abs(place[0] - place[1])
    terms = {"log": math.log(1 + math.exp(own) * distance), "power": distance ** (2 / (1 + math.exp(-own)))}
    return query @ key / math.sqrt(len(query)) - r1 * terms[kind]
