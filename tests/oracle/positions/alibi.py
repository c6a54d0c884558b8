"""Press et al. 2021, section 3, the slopes as the authors' code makes them, by recursion."""

import math


def slopes(heads):
    """m of each head."""
    if math.log2(heads).is_integer():
        start = 2 ** (-(2 ** -(math.log2(heads) - 3)))
        return [start * start**n for n in range(heads)]
    below = 2 ** math.floor(math.log2(heads))
    return slopes(below) + slopes(2 * below)[0::2][: heads - below]


def logit(query, key, place, head, params):
    """One logit."""
    n, _, heads = head
    return query @ key / math.sqrt(len(query)) - slopes(heads)[n] * abs(place[0] - place[1])
