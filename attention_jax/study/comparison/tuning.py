"""What the tuning of a comparison says: the best trial of each variant, the window of learning rates, the edges.

Nothing here trains or searches; it reads what was tried.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_jax.data.seeds import LARGEST_SEED
from attention_jax.study.statistics.measures import bounds

LEARNING_RATE = "optimizer.learning_rate"
# Of the range of a measure that has two ends, such as an accuracy; of the best score of any other.
MARGIN = 0.05


@dataclass(frozen=True)
class Tried:
    """One trial of a search.

    Attributes:
      point: the tuned keys with their values.
      seed: that it was trained with, none of those that are reported.
      status: "done", "refused" or "failed".
      reason: why it is not done; None where it is.
      metric: what decides, on the validation split; None where it is not done.
      score: its value; None where it is not done.
      steps: updates taken.
      log: the path of what it printed, relative to the workdir.
    """

    point: Mapping[str, Any]
    seed: int
    status: str
    reason: str | None = None
    metric: str | None = None
    score: float | None = None
    steps: int | None = None
    log: str | None = None


@dataclass(frozen=True)
class Window:
    """The learning rates around the best one at which a variant works.

    Attributes:
      low, high: the least and the largest of them.
      best: the rate of the best score.
      open_below, open_above: whether its end is the least, or the largest, rate that was tried: it may go on.
    """

    low: float
    high: float
    best: float
    open_below: bool
    open_above: bool


@dataclass(frozen=True)
class Tuned:
    """The search of one variant on one benchmark.

    Attributes:
      benchmark, variant: which.
      rising: whether a higher score is better.
      tried: every trial, each point once, in their order.
    """

    benchmark: str
    variant: str
    rising: bool
    tried: tuple[Tried, ...]

    @property
    def chosen(self) -> Tried | None:
        """The trial whose point is trained on the reported seeds; None where none ran to its end."""
        return best(self.tried, rising=self.rising)

    @property
    def window(self) -> Window | None:
        """The learning rates that work; None where none ran to its end, or fewer than two were tried."""
        return window(self.tried, rising=self.rising)

    @property
    def edges(self) -> dict[str, str]:
        """Key -> "smallest" or "largest", of each tuned number whose chosen value is the last that was tried."""
        return edges(self.tried, self.chosen)


def search_seed(seed: int) -> int:
    """Returns the seed that every trial of a search is trained with, drawn from that of the search: no usual one."""
    return int(hashlib.sha256(f"tuning {seed}".encode()).hexdigest(), 16) % (LARGEST_SEED + 1)


def best(tried: Sequence[Tried], *, rising: bool) -> Tried | None:
    """Returns the trial with the best score, of equal ones the first; None where none ran to its end."""
    done = [trial for trial in tried if trial.score is not None]
    return max(done, key=lambda trial: _merit(trial, rising=rising), default=None)


def margin(metric: str, score: float) -> float:
    """Returns how much worse than the best score of a metric a score may be that still counts as working."""
    low, high = bounds(metric)
    return MARGIN * (high - low if math.isfinite(high - low) else abs(score))


def window(tried: Sequence[Tried], *, rising: bool) -> Window | None:
    """Returns the range of tried learning rates, without a gap, whose score is within `margin` of the best.

    The score of a rate is its best over the other tuned keys; a rate at which no trial ran to its end ends the window.

    Args:
      tried: the trials of one variant on one benchmark.
      rising: whether a higher score is better.
    """
    with_rate = [trial for trial in tried if LEARNING_RATE in trial.point]
    chosen = best(with_rate, rising=rising)
    rates = sorted({float(trial.point[LEARNING_RATE]) for trial in with_rate})
    if chosen is None or len(rates) < 2:
        return None
    limit = _merit(chosen, rising=rising) - margin(str(chosen.metric), float(chosen.score or 0.0))
    works = {
        float(trial.point[LEARNING_RATE])
        for trial in with_rate
        if trial.score is not None and _merit(trial, rising=rising) >= limit
    }
    first = last = rates.index(float(chosen.point[LEARNING_RATE]))
    while first > 0 and rates[first - 1] in works:
        first -= 1
    while last < len(rates) - 1 and rates[last + 1] in works:
        last += 1
    return Window(
        low=rates[first],
        high=rates[last],
        best=float(chosen.point[LEARNING_RATE]),
        open_below=first == 0,
        open_above=last == len(rates) - 1,
    )


def edges(tried: Sequence[Tried], chosen: Tried | None) -> dict[str, str]:
    """Returns key -> "smallest" or "largest", where the chosen value is that of all that were tried.

    Args:
      tried: the trials of one variant on one benchmark; a failed one counts, since there is something beyond the best.
      chosen: one of them.
    """
    found: dict[str, str] = {}
    for key, value in (chosen.point if chosen is not None else {}).items():
        values = {trial.point[key] for trial in tried if key in trial.point}
        if len(values) > 1 and all(_is_number(one) for one in values):
            if value == min(values):
                found[key] = "smallest"
            elif value == max(values):
                found[key] = "largest"
    return found


def _merit(trial: Tried, *, rising: bool) -> float:
    assert trial.score is not None
    return trial.score if rising else -trial.score


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
