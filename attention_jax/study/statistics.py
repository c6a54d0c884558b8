"""Means over seeds with their intervals, and the paired comparison with a reference."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import scipy.stats

from attention_jax.tasks import higher_is_better

CONFIDENCE = 0.95

Verdict = Literal["better", "worse", "not separated", "one seed"]


@dataclass(frozen=True)
class Estimate:
    """A mean over `seeds` values with its 95% interval, `mean` ± `half_width`; None with one value, which has none."""

    mean: float
    half_width: float | None
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """The mean of (variant - reference) over the seeds both have, and what its 95% interval allows to say."""

    difference: Estimate
    verdict: Verdict


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the mean of `values` and the half-width t(0.975, n - 1) s / sqrt(n) of its 95% interval.

    This is Student's interval (Student 1908, "The probable error of a mean"): it takes the scores of different seeds
    as independent and normal. With two values t is 12.7, with three 4.3, with five 2.8, with ten 2.3.

    Raises:
      ValueError: `values` is empty.
    """
    count = len(values)
    if count == 0:
        raise ValueError("the mean of no values does not exist.")
    mean = statistics.fmean(values)
    if count == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, quantile(count) * statistics.stdev(values) / math.sqrt(count), count)


def quantile(count: int) -> float:
    """Returns t(0.975, count - 1), which a 95% interval over `count` > 1 values is this many standard errors wide."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


def paired(scores: Mapping[int, float], reference: Mapping[int, float], *, metric: str) -> Comparison | None:
    """Compares two variants, given as seed to score, over the seeds that both have; None when they share none.

    The interval is that of the differences, seed by seed, so what a seed does to both (the order of the data, the
    initial embeddings) cancels. The verdict is "better" or "worse" when the interval excludes zero. It is not
    corrected for the number of comparisons.
    """
    shared = sorted(scores.keys() & reference.keys())
    if not shared:
        return None
    difference = estimate([scores[seed] - reference[seed] for seed in shared])
    return Comparison(difference, _verdict(difference, metric=metric))


def _verdict(difference: Estimate, *, metric: str) -> Verdict:
    if difference.half_width is None:
        return "one seed"
    if abs(difference.mean) <= difference.half_width:
        return "not separated"
    return "better" if (difference.mean > 0) == higher_is_better(metric) else "worse"
