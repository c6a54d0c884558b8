"""Vaswani et al. 2017, section 3.5."""

import math


def embed(hidden, position, params, *, base):
    """A token at its position."""
    width = len(hidden)
    added = []
    for c in range(width):
        angle = position / base ** (2 * (c // 2) / width)
        added.append(math.cos(angle) if c % 2 else math.sin(angle))
    return [x + r for x, r in zip(hidden, added, strict=True)]
