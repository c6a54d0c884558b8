"""The mean of a score over seeds, with an interval that the measure can hold, or with none.

Student's interval (Student 1908, "The probable error of a mean") wherever the scores are away from the measure's
bounds. Near a bound the scores are skewed, many are the bound itself, and Student covers 85 to 92% instead of 95: there
the interval is widened to that of a gamma distribution. Where nothing narrower than half the measure's range can be
said, there is no interval: the runs themselves are shown.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float

from attention_jax.study.statistics.measures import UNBOUNDED

CONFIDENCE = 0.95

# Why an estimate has no interval.
Without = Literal["one seed", "equal scores", "too wide", "solved or not"]

_NEAR = 2.0  # standard deviations between the mean and a bound, within which the scores lean on it


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
      mean: of the runs.
      low, high: the ends of its 95% interval, within the measure's bounds; None where there is none.
      runs: the score of each seed.
      without: why there is no interval; None where there is one.
    """

    mean: float
    low: float | None
    high: float | None
    runs: tuple[float, ...]
    without: Without | None = None

    @property
    def seeds(self) -> int:
        """How many runs the mean is over."""
        return len(self.runs)


def quantile(count: int) -> float:
    """Returns t(0.975, count - 1): how many standard errors Student's interval over `count` > 1 values reaches."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


def estimate(
    values: Sequence[float], *, within: tuple[float, float] = UNBOUNDED, solved_or_not: bool = False
) -> Estimate:
    """Returns the mean of `values`, one for each seed, with its 95% interval where one is honest.

    There is none over one seed, over equal scores (which say nothing of the spread), where it would take more than
    half of a bounded measure's range, and on a task that a run solves or does not: a mean of 1.0 and 0.3 describes no
    run, and three runs that solved it hide the fourth that would not.

    Args:
      values: finite scores.
      within: the bounds of the measure.
      solved_or_not: whether the runs of this benchmark fall into two groups.

    Raises:
      ValueError: `values` is empty.
    """
    runs = tuple(float(value) for value in values)
    if not runs:
        raise ValueError("the mean of no values does not exist.")
    mean = statistics.fmean(runs)
    if len(runs) == 1:
        return Estimate(mean, None, None, runs, "one seed")
    if max(runs) - min(runs) <= 1e-12 * max(1.0, abs(mean)):
        return Estimate(mean, None, None, runs, "equal scores")
    if solved_or_not:
        return Estimate(mean, None, None, runs, "solved or not")
    low, high = interval(runs, within=within)
    if high - low > (within[1] - within[0]) / 2:
        return Estimate(mean, None, None, runs, "too wide")
    return Estimate(mean, low, high, runs)


def interval(runs: Sequence[float], *, within: tuple[float, float] = UNBOUNDED) -> tuple[float, float]:
    """Returns the ends of the 95% interval of the mean of two or more `runs` not all equal: see `intervals`."""
    low, high = intervals(np.asarray(runs, float)[None], within=within)
    return float(low[0]), float(high[0])


def intervals(
    runs: Float[np.ndarray, "A N"], *, within: tuple[float, float] = UNBOUNDED
) -> tuple[Float[np.ndarray, "A"], Float[np.ndarray, "A"]]:  # noqa: F821
    """Returns the low and the high ends of the 95% intervals of A means, of N >= 2 runs each.

    With mean m and standard deviation s it is m ± t(0.975, N - 1) s / sqrt(N), cut at the bounds. Where m is within 2 s
    of a bound, both ends are moved out to those for a gamma-distributed distance d from it,
    d 2k / chi2(0.975, 2k) and d 2k / chi2(0.025, 2k), where k runs are off the bound: exact for exponential distances
    (Cox and Lewis 1966, "The statistical analysis of series of events"), and wide where many runs are at the bound.
    """
    count = runs.shape[1]
    mean, spread = runs.mean(1), runs.std(1, ddof=1)
    half = quantile(count) * spread / math.sqrt(count)
    low, high = mean - half, mean + half
    for bound, sign in zip(within, (1, -1), strict=True):
        if math.isinf(bound):
            continue
        distance = sign * (mean - bound)
        off = (np.abs(runs - bound) > 1e-12).sum(1)
        leaning = (distance < _NEAR * spread) & (off > 0)
        for tail in (0.025, 0.975):
            end = bound + sign * distance * _gamma_factors(count, tail)[off]
            low = np.where(leaning, np.minimum(low, end), low)
            high = np.where(leaning, np.maximum(high, end), high)
    return np.maximum(low, within[0]), np.minimum(high, within[1])


@lru_cache(maxsize=64)
def _gamma_factors(count: int, tail: float) -> Float[np.ndarray, "N"]:  # noqa: F821
    """Returns 2k / chi2(tail, 2k) for k of 0 to `count`; that of no event is not used."""
    events = np.maximum(np.arange(count + 1), 1)
    return 2 * events / scipy.stats.chi2.ppf(tail, 2 * events)
