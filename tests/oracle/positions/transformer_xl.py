"""Dai et al. 2019, section 3.3."""

import math

import numpy as np


def logit(query, key, place, head, params, *, width):
    """One logit."""
    n, distance, half = head[0], place[0] - place[1], width // 2
    waves = [wave(distance / 10000 ** (c / half)) for wave in (math.sin, math.cos) for c in range(half)]
    projected = params["position_projection"][n] @ np.array(waves)
    content = (query + params["position_u"][n]) @ key
    return (content + (query + params["position_v"][n]) @ projected) / math.sqrt(len(query))
