"""Wang et al. 2020, section 2: numbers r e^(i (w p + theta)), and the real part of their Hermitian product."""

import cmath
import math


def numbers(vector, position, rates):
    """The complex channels of a vector at a position."""
    half = len(vector) // 2
    polar = [cmath.polar(complex(vector[c], vector[c + half])) for c in range(half)]
    return [r * cmath.exp(1j * (rates[c] * position + theta)) for c, (r, theta) in enumerate(polar)]


def embed(hidden, position, params):
    """A token at its position."""
    found = numbers(hidden, position, params["position_rates"])
    return [number.real for number in found] + [number.imag for number in found]


def logit(query, key, place, head, params):
    """One logit."""
    q, k = (numbers(*one, params["position_rates"]) for one in ((query, place[0]), (key, place[1])))
    return sum((a * b.conjugate()).real for a, b in zip(q, k, strict=True)) / math.sqrt(len(query))
