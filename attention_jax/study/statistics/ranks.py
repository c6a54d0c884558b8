"""Over several benchmarks: mean ranks with a critical difference, and the probability of being better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from attention_jax.study.statistics.intervals import CONFIDENCE

_BESIDE = 1e-9


@dataclass(frozen=True)
class Ranks:
    """The mean rank of each variant over the benchmarks that all of them have a score on; 1 is the best.

    Attributes:
      benchmarks: the benchmarks ranked on.
      mean: variant -> its mean rank, best first; ties share their ranks.
      p: that of Friedman's test of "all alike"; None with fewer than three variants, which it needs.
      critical: two variants whose mean ranks differ by less are not separated at 5% (Nemenyi).
    """

    benchmarks: tuple[str, ...]
    mean: dict[str, float]
    p: float | None
    critical: float


@dataclass(frozen=True)
class Chance:
    """The probability that a run of a variant beats one of the reference, over benchmarks, with its 95% interval."""

    probability: float
    low: float
    high: float


def ranks(scores: Mapping[str, Mapping[str, float]], *, rising: Mapping[str, bool]) -> Ranks | None:
    """Returns the mean ranks; None with fewer than two benchmarks that two or more variants all have a score on.

    Variants without any score are left out; benchmarks that one of the rest has no score on are too. Friedman 1937,
    "The use of ranks to avoid the assumption of normality"; Nemenyi 1963; Demsar 2006, "Statistical comparisons of
    classifiers over multiple data sets", CD: q(0.05, V) sqrt(V (V + 1) / (6 B)), where q is the quantile of
    the studentised range over sqrt(2).

    Args:
      scores: benchmark -> variant -> mean score.
      rising: benchmark -> whether a higher score is better.
    """
    variants = list(dict.fromkeys(variant for found in scores.values() for variant in found))
    benchmarks = [name for name, found in scores.items() if all(variant in found for variant in variants)]
    if len(benchmarks) < 2 or len(variants) < 2:
        return None
    table = np.array([[scores[name][v] * (-1 if rising[name] else 1) for v in variants] for name in benchmarks])
    found = scipy.stats.rankdata(table, axis=1).mean(0)
    count = len(variants)
    spread = math.sqrt(count * (count + 1) / (6 * len(benchmarks)))
    critical = float(scipy.stats.studentized_range.ppf(CONFIDENCE, count, np.inf)) / math.sqrt(2) * spread
    order = np.argsort(found, kind="stable")
    mean = {variants[place]: float(found[place]) for place in order}
    return Ranks(tuple(benchmarks), mean, _friedman(table), critical)


def _friedman(table: Float[np.ndarray, "B V"]) -> float | None:
    if table.shape[1] < 3:
        return None
    if (table == table[:, :1]).all():
        return 1.0  # all tied on every benchmark: scipy divides by the spread of the ranks, which is none
    return float(scipy.stats.friedmanchisquare(*table.T).pvalue)


def probability_of_better(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Chance:
    """Returns the mean over benchmarks of P(X > Y) + P(X = Y) / 2, X a run of a variant and Y one of the reference.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", call this the
    probability of improvement and give it a percentile bootstrap, which is an interval of no width when every run of
    three wins. Here each benchmark has the interval of Newcombe 2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic", method 5 (with Student's t), and they are joined by Zou and Donner 2008,
    "Construction of confidence limits about effect measures", as independent.

    Args:
      pairs: for each benchmark, the runs of the variant and those of the reference, turned so that higher is better.

    Raises:
      ValueError: there is no benchmark, or one without runs.
    """
    if not pairs or any(not len(runs) for pair in pairs for runs in pair):
        raise ValueError("the probability of being better needs runs of both variants.")
    each = [_one_benchmark(np.asarray(one), np.asarray(two)) for one, two in pairs]
    middle, low, high = (np.array([getattr(chance, end) for chance in each]) for end in ("probability", "low", "high"))
    mean = float(middle.mean())
    down, up = (math.sqrt(float(((middle - end) ** 2).sum())) / len(each) for end in (low, high))
    return Chance(mean, max(0.0, mean - down), min(1.0, mean + up))


def _one_benchmark(one: Float[np.ndarray, "M"], two: Float[np.ndarray, "N"]) -> Chance:  # noqa: F821
    wins = (one[:, None] > two).mean() + (one[:, None] == two).mean() / 2
    # Student's t for the normal quantile: with three seeds Newcombe's own covers 90% over several benchmarks.
    width = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, max(1, len(one) + len(two) - 2)))
    half = (len(one) + len(two)) / 2 - 1

    def excess(chance: float) -> float:
        spread = chance * (1 - chance) * (1 + half * ((1 - chance) / (2 - chance) + chance / (1 + chance)))
        return float((wins - chance) ** 2 - width**2 * spread / (len(one) * len(two)))

    # The excess is 0 at a share of 0 or 1 itself: the search starts beside it.
    low = 0.0 if wins <= 0 else scipy.optimize.brentq(excess, 0.0, wins - _BESIDE)
    high = 1.0 if wins >= 1 else scipy.optimize.brentq(excess, wins + _BESIDE, 1.0)
    return Chance(float(wins), float(low), float(high))
