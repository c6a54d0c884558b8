"""Tasks that a run solves or does not: recall, induction and parity jump from chance to nearly all right.

The mean over seeds then describes no run, and its interval covers too rarely (Student's: 63% of the time with three
seeds, 70% of which solve). What can be said is in how many seeds the task was solved, and how soon.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import scipy.stats

from attention_jax.study.statistics.intervals import CONFIDENCE

_BAND = 0.25  # of a bounded measure's range: the least gap between the runs that solve a task and those that do not


@dataclass(frozen=True)
class Solved:
    """In how many of `seeds` runs a task was solved, with the 95% interval of the chance that a run solves it."""

    count: int
    seeds: int
    low: float
    high: float


def threshold(scores: Collection[Sequence[float]], *, within: tuple[float, float]) -> float | None:
    """Returns the score that divides the runs of a benchmark that solve it from those that do not, or None.

    It is the middle of the widest band without a score of any run, where the seeds of at least one variant fall on
    both sides and the band is at least a quarter of the measure's range. Variants that differ, each with seeds that
    agree, do not make a task solved or not; a measure without two bounds has no range to judge by.

    Args:
      scores: of each variant, those of its runs.
      within: the bounds of the measure.
    """
    width = within[1] - within[0]
    if not math.isfinite(width):
        return None
    every = sorted(score for runs in scores for score in runs)
    bands = [(high - low, (low + high) / 2) for low, high in itertools.pairwise(every) if high - low >= _BAND * width]
    split = [
        (size, middle) for size, middle in bands if any(min(runs) < middle < max(runs) for runs in scores if len(runs))
    ]
    return max(split)[1] if split else None


def solved(runs: Sequence[float], *, at: float, rising: bool) -> Solved:
    """Returns how many of `runs` reach the threshold `at`, with Clopper and Pearson's exact 95% interval.

    Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial": it
    covers at least 95% of the time for any chance and any number of runs.

    Args:
      runs: the score of each seed.
      at: the threshold.
      rising: whether a higher score is better.

    Raises:
      ValueError: `runs` is empty.
    """
    count = sum(reaches(run, at=at, rising=rising) for run in runs)
    exact = scipy.stats.binomtest(count, len(runs)).proportion_ci(CONFIDENCE, method="exact")
    return Solved(count, len(runs), float(exact.low), float(exact.high))


def reaches(value: float, *, at: float, rising: bool) -> bool:
    """Returns whether `value` is at or past the threshold `at`."""
    return value >= at if rising else value <= at


def steps_to_solve(points: Sequence[tuple[int, float]], *, at: float, rising: bool) -> int | None:
    """Returns the first step at which a learning curve reaches the threshold `at`; None when it never does.

    Args:
      points: (step, value) of one run, steps rising.
      at: the threshold.
      rising: whether a higher value is better.
    """
    return next((step for step, value in points if reaches(value, at=at, rising=rising)), None)
