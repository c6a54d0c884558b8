"""What a study could have found, and what more seeds would find: simulated from its own residuals.

A simulated study draws its noise, with replacement, from the pooled residuals of the real one, and is judged by the
same rule. Both answers are for a chance of 80%, the usual one (Cohen 1988, "Statistical power analysis").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from attention_jax.study.statistics.family import ERROR, p_values, residuals
from attention_jax.study.statistics.verdicts import Complete

POWER = 0.8
MOST_SEEDS = 40  # more than anyone adds; beyond it the answer is "more"

_STUDIES = 250  # the chance 80% is then known to 2.5 points
_SHUFFLES = 199
_LARGEST = 64.0  # residual standard deviations: with three seeds of two variants about 5 are found


@dataclass(frozen=True)
class Outlook:
    """What the study could have found, and what would find more.

    Attributes:
      smallest: the smallest true difference of one variant from the reference that 80% of such studies find; None where
        the scores do not spread.
      more_seeds: variant not separated from the reference -> how many more seeds would separate the two in 80% of
        studies, were the difference seen the true one; None where more than MOST_SEEDS seeds would be needed.
    """

    smallest: float | None
    more_seeds: dict[str, int | None]


def outlook(part: Complete, undecided: Sequence[str]) -> Outlook:
    """Returns what the study `part` could have found and what more seeds would find of `undecided`.

    Args:
      part: the runs that the verdicts were drawn from, the reference first.
      undecided: the variants of it that are not separated from the reference.
    """
    noise = residuals(part.scores)
    if np.abs(noise).max() <= 1e-9 * max(1.0, float(np.abs(part.scores).max())):
        return Outlook(None, dict.fromkeys(undecided))
    key = noise.tobytes(), noise.shape
    places = tuple(part.variants.index(variant) for variant in undecided)
    needed = _more_seeds(*key, tuple(part.scores.mean(0).tolist()), places)
    return Outlook(_smallest(*key), dict(zip(undecided, needed, strict=True)))


@lru_cache(maxsize=64)
def _smallest(noise: bytes, shape: tuple[int, int]) -> float:
    """Returns the smallest difference found in 80% of studies, by bisection over one set of simulated noise."""
    pool = np.frombuffer(noise)
    drawn = _draw(pool, (_STUDIES, *shape))
    unit = float(pool.std())
    low, high = 0.0, _LARGEST
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        shifted = drawn + np.eye(shape[1])[-1] * middle * unit
        found = p_values(shifted, reference=0, shuffles=_SHUFFLES)[:, -1] <= ERROR
        low, high = (low, middle) if found.mean() >= POWER else (middle, high)
    return high * unit


@lru_cache(maxsize=64)
def _more_seeds(
    noise: bytes, shape: tuple[int, int], means: tuple[float, ...], places: tuple[int, ...]
) -> list[int | None]:
    """Returns how many more seeds decide each of the variants `places`; the reference is variant 0."""
    pool = np.frombuffer(noise)
    needed: dict[int, int] = {}
    seeds = shape[0]
    while seeds < MOST_SEEDS and len(needed) < len(places):
        seeds = min(MOST_SEEDS, seeds + max(1, seeds // 4))
        drawn = np.array(means) + _draw(pool, (_STUDIES, seeds, shape[1]))
        power = (p_values(drawn, reference=0, shuffles=_SHUFFLES) <= ERROR).mean(0)
        for place in places:
            if power[place - 1] >= POWER:
                needed.setdefault(place, seeds - shape[0])
    return [needed.get(place) for place in places]


def _draw(pool: Float[np.ndarray, "R"], shape: tuple[int, ...]) -> Float[np.ndarray, "S N V"]:  # noqa: F821
    return np.random.default_rng(0).choice(pool, shape)
