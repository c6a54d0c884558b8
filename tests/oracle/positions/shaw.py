"""Shaw et al. 2018, equations 3 to 5."""

import math


def entry(place, clip):
    """The row of the tables for a pair."""
    return max(-clip, min(clip, place[1] - place[0])) + clip


def logit(query, key, place, head, params, *, clip, values):
    """One logit."""
    return query @ (key + params["position_keys"][entry(place, clip)]) / math.sqrt(len(query))


def value(place, params, *, clip, values):
    """What is added to the value."""
    return params["position_values"][entry(place, clip)]
