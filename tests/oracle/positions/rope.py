"""Su et al. 2021, equation 34; Peng et al. 2023 for ntk (definition 1) and yarn (definition 2 and equation 22)."""

import cmath
import math


def frequency(c, width, base, scaling, factor, original):
    """w of the pair c."""
    if scaling == "ntk":
        base = base * factor ** (width / (width - 2))
    w = base ** (-2 * c / width)
    if scaling != "yarn":
        return w
    # The published code ramps over the numbers of pairs, not over turns.
    number = [width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (32, 1)]
    low, high = max(math.floor(number[0]), 0), min(math.ceil(number[1]), width - 1)
    ramp = min(max((c - low) / max(high - low, 0.001), 0), 1)
    return ramp * w / factor + (1 - ramp) * w


def turned(x, position, base, pairs, scaling, factor, original):
    """The complex number of each pair, turned."""
    half = len(x) // 2
    stretch = 0.1 * math.log(factor) + 1 if scaling == "yarn" else 1
    numbers = []
    for c in range(half):
        first, second = (c, c + half) if pairs == "half" else (2 * c, 2 * c + 1)
        angle = position * frequency(c, len(x), base, scaling, factor, original)
        numbers.append(stretch * complex(x[first], x[second]) * cmath.exp(1j * angle))
    return numbers


def logit(query, key, place, head, params, *, base, pairs, fraction, scaling, factor, original, columns):
    """One logit."""
    count = round(len(query) * fraction)
    total = sum(query[c] * key[c] for c in range(count, len(query)))
    if columns:
        # In code that pairs halves, the pairs of rows come first, then those of columns.
        order = [[], []]
        for c in range(count // 2):
            pair = (c, c + count // 2) if pairs == "half" else (2 * c, 2 * c + 1)
            order[c >= count // 4].append(pair)
        parts = [
            ([p[0] for p in of] + [p[1] for p in of], [divmod(position, columns)[axis] for position in place])
            for axis, of in enumerate(order)
        ]
        pairs = "half"
    else:
        parts = [(list(range(count)), list(place))]
    for channels, (i, j) in parts:
        options = (base, pairs, scaling, factor, original)
        q = turned([query[c] for c in channels], i, *options)
        k = turned([key[c] for c in channels], j, *options)
        total += sum((a * b.conjugate()).real for a, b in zip(q, k, strict=True))
    return total / math.sqrt(len(query))
