"""The statistics of the reports, tested on simulated studies whose truth is known.

What a user cannot see in one report, thousands of simulated ones show: how often a study of equal variants claims any
difference, how often a true difference is found, and how often the intervals that are shown hold the true mean.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float
from rich import box
from rich.console import Console
from rich.table import Table

from attention_jax.base.errors import Refused
from attention_jax.study.statistics.family import LEAST_SEEDS, p_values
from attention_jax.study.statistics.intervals import CONFIDENCE, intervals, quantile
from attention_jax.study.statistics.solved import solved, threshold

VARIANTS = (6, 15)
SEEDS = (3, 5, 10)

# The bars. Where the spreads differ no rule known to us keeps to the first, so there the rate is stated, not judged.
MOST_FALSE = 0.05
MOST_FALSE_UPPER = 0.06  # of the exact 95% interval of that rate
LEAST_FOUND = 0.8  # of a true difference of 4 standard deviations, 15 variants with 3 seeds, normal scores
LEAST_COVERED = 0.93
MOST_WIDTH = 1.15  # of Student's, normal scores

Judgement = Literal["pass", "fail", "too few studies"]
_Scores = Float[np.ndarray, "S N V"]

_WITHIN = (0.0, 1.0)  # every shape is an accuracy
_SOLVES = 0.7


@dataclass(frozen=True)
class Shape:
    """How the scores of equal variants fall, as accuracies.

    Attributes:
      name: for the table.
      draw: (random, studies, seeds, variants) -> scores [S, N, V].
      mean: the true mean of a variant.
      judged: whether its false verdicts have to keep to the bar.
    """

    name: str
    draw: Callable[[np.random.Generator, int, int, int], _Scores]
    mean: float
    judged: bool = True


def _normal(random: np.random.Generator, studies: int, seeds: int, variants: int) -> _Scores:
    return 0.6 + 0.02 * random.standard_normal((studies, seeds, variants))


def _ceiling(random: np.random.Generator, studies: int, seeds: int, variants: int) -> _Scores:
    """Normal scores around 0.99 of which those above 1, three in ten, are 1."""
    return np.minimum(1.0, 0.99 + 0.02 * random.standard_normal((studies, seeds, variants)))


def _solved_or_not(random: np.random.Generator, studies: int, seeds: int, variants: int) -> _Scores:
    """Seven runs in ten score 0.99, the rest stay at chance, with a little noise: no two runs are equal."""
    noise = 0.003 * random.standard_normal((studies, seeds, variants))
    return np.where(random.random(noise.shape) < _SOLVES, 0.99 + noise, 0.3 + 3 * noise)


def _unequal_spreads(random: np.random.Generator, studies: int, seeds: int, variants: int) -> _Scores:
    """Normal scores whose standard deviations are from 0.002 to 0.06, thirty times as much, in any order."""
    spreads = random.permuted(np.tile(np.geomspace(0.002, 0.06, variants), (studies, 1)), axis=1)
    return 0.6 + spreads[:, None] * random.standard_normal((studies, seeds, variants))


def _seed_effects(random: np.random.Generator, studies: int, seeds: int, variants: int) -> _Scores:
    """Normal scores, moved by each seed for all variants alike by three times their own spread."""
    return _normal(random, studies, seeds, variants) + 0.06 * random.standard_normal((studies, seeds, 1))


def _mean_under_ceiling() -> float:
    """Returns 1 - E[max(0, D)] of the distance D = 1 - X from the bound, normal around d: d Phi(d/s) + s phi(d/s)."""
    distance, spread = 0.01, 0.02
    below = distance * scipy.stats.norm.cdf(distance / spread) + spread * scipy.stats.norm.pdf(distance / spread)
    return float(1 - below)


SHAPES = (
    Shape("normal", _normal, 0.6),
    Shape("ceiling", _ceiling, _mean_under_ceiling()),
    Shape("solved or not", _solved_or_not, 0.99 * _SOLVES + 0.3 * (1 - _SOLVES)),
    Shape("seed effects", _seed_effects, 0.6),
    Shape("unequal spreads", _unequal_spreads, 0.6, judged=False),
)


@dataclass(frozen=True)
class Row:
    """What the simulated studies of one shape and size gave.

    Attributes:
      shape, judged: as in `Shape`.
      variants, seeds, studies: sizes.
      false: share of studies of equal variants with any verdict but "not separated".
      false_upper: the upper end of its exact 95% interval.
      beside: share of studies with a false verdict where one variant truly differs.
      effect: that difference, in standard deviations of a score.
      found: share of studies that find it.
      covered: share of the intervals shown that hold the truth; None where not asked for.
      shown: share of variants that have an interval.
      width: mean width over that of Student's; None for other shapes than the normal.
    """

    shape: str
    judged: bool
    variants: int
    seeds: int
    studies: int
    false: float
    false_upper: float
    beside: float
    effect: float
    found: float
    covered: float | None = None
    shown: float | None = None
    width: float | None = None

    @property
    def judgement(self) -> Judgement:
        """Whether the row keeps to the bars; with too few studies the upper bound cannot."""
        false = max(self.false, self.beside)
        held = [
            not self.judged or false <= MOST_FALSE,
            not self._effect_is_judged or self.found >= LEAST_FOUND,
            self.covered is None or self.covered >= LEAST_COVERED,
            self.width is None or self.width <= MOST_WIDTH,
        ]
        if not all(held):
            return "fail"
        return "too few studies" if self.judged and self.false_upper > MOST_FALSE_UPPER else "pass"

    @property
    def _effect_is_judged(self) -> bool:
        return self.shape == "normal" and (self.variants, self.seeds) == (15, 3) and self.effect >= 4


def run(
    *,
    studies: int = 4000,
    effect: float = 4.0,
    coverage: bool = True,
    variants: Sequence[int] = VARIANTS,
    seeds: Sequence[int] = SEEDS,
    shapes: Sequence[Shape] = SHAPES,
    shuffles: int = 399,
    seed: int = 0,
) -> Iterator[Row]:
    """Yields a row for each shape and size, as it is done; the same options give the same rows.

    Args:
      studies: simulated for each row.
      effect: the true difference that is looked for, in standard deviations of a score.
      coverage: whether the intervals are tested too.
      variants: their numbers, 2 and more.
      seeds: their numbers, 3 and more.
      shapes: of the scores.
      shuffles: of the names in each test; a real study takes more, which changes its verdicts little.
      seed: of the simulation.

    Raises:
      Refused: an option is out of its range.
    """
    _check(studies, effect, variants, seeds)
    return (
        _row(shape, studies, count, runs, effect=effect, coverage=coverage, shuffles=shuffles, seed=seed)
        for shape in shapes
        for count in variants
        for runs in seeds
    )


def print_rows(rows: Sequence[Row], *, console: Console | None = None) -> bool:
    """Prints the table with the bars below it, and returns whether every row passes."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("scores", "variants", "seeds", "false", "at most", "beside", "found", "covered", "shown", "width", ""):
        table.add_column(name, justify="left" if name in ("scores", "") else "right", no_wrap=True)
    for row in rows:
        shares = [row.false, row.false_upper, row.beside, row.found, row.covered, row.shown]
        texts = ["-" if share is None else f"{share:.1%}" for share in shares]
        texts[0] += "" if row.judged else "*"
        width = "-" if row.width is None else f"{row.width:.2f}"
        table.add_row(row.shape, str(row.variants), str(row.seeds), *texts, width, row.judgement)
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for line in _reading(rows):
        console.print(line)
    return all(row.judgement == "pass" for row in rows)


def _reading(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    said = [
        f"{rows[0].studies} studies a row. false: any verdict among equal variants, at most {MOST_FALSE:.0%}; at most: "
        f"its exact upper bound, {MOST_FALSE_UPPER:.0%}; beside: any false verdict where one variant truly differs.",
        f"found: a true difference of {rows[0].effect:g} standard deviations; at least {LEAST_FOUND:.0%} for 15 "
        f"variants with 3 seeds, normal scores, 4 standard deviations.",
        f"covered: of the intervals shown, at least {LEAST_COVERED:.0%}; shown: variants with one; width: over "
        f"Student's t, at most {MOST_WIDTH}. Of tasks that are solved or not, the interval of the solved share.",
    ]
    if not all(row.judged for row in rows):
        said.append("* stated, not judged: spreads that differ thirty-fold, where the pooled residual is least true.")
    return said


def _check(studies: int, effect: float, variants: Sequence[int], seeds: Sequence[int]) -> None:
    for name, least, given in (
        ("studies", 1, [studies]),
        ("variants", 2, variants),
        ("seeds", LEAST_SEEDS, seeds),
    ):
        for value in given:
            if value < least:
                raise Refused(f"selftest statistics cannot simulate {name}={value}: it needs at least {least}.")
    if not 0 < effect < 1000:
        raise Refused(f"effect={effect:g} is no difference to look for: give one between 0 and 1000, such as 4.")


def _row(
    shape: Shape, studies: int, variants: int, seeds: int, *, effect: float, coverage: bool, shuffles: int, seed: int
) -> Row:
    scores = shape.draw(np.random.default_rng((seed, variants, seeds)), studies, seeds, variants)
    # The spread of a variant's runs at one seed, which is what a difference has to be seen against.
    spread = float(np.sqrt((scores - scores.mean(2, keepdims=True)).var(2, ddof=1).mean()))
    apart = scores - np.eye(variants)[-1] * effect * spread
    equal = p_values(scores, reference=0, shuffles=shuffles, seed=seed) <= MOST_FALSE
    differing = p_values(apart, reference=0, shuffles=shuffles, seed=seed) <= MOST_FALSE
    count = int(equal.any(1).sum())
    upper = float(scipy.stats.binomtest(count, studies).proportion_ci(CONFIDENCE, method="exact").high)
    covered, shown, width = _coverage(scores, shape) if coverage else (None, None, None)
    return Row(
        shape=shape.name,
        judged=shape.judged,
        variants=variants,
        seeds=seeds,
        studies=studies,
        false=count / studies,
        false_upper=upper,
        beside=float(differing[:, :-1].any(1).mean()),
        effect=effect,
        found=float(differing[:, -1].mean()),
        covered=covered,
        shown=shown,
        width=width if shape.name == "normal" else None,
    )


def _coverage(scores: _Scores, shape: Shape) -> tuple[float, float, float]:
    """Returns the share of the intervals shown that hold the truth, the share shown and their width over Student's."""
    _, seeds, variants = scores.shape
    # Two groups of runs are seen over the whole benchmark, as a report sees them.
    split = [threshold(study.T.tolist(), within=_WITHIN) for study in scores]
    at = np.array([np.nan if found is None else found for found in split])
    runs = scores.transpose(0, 2, 1).reshape(-1, seeds)
    whole = np.repeat(np.isnan(at), variants)
    low, high = intervals(runs, within=_WITHIN)
    shown = whole & (np.ptp(runs, axis=1) > 1e-12) & (high - low <= (_WITHIN[1] - _WITHIN[0]) / 2)
    held = shown & (low <= shape.mean) & (shape.mean <= high)
    exact = [solved([1.0] * k + [0.0] * (seeds - k), at=0.5, rising=True) for k in range(seeds + 1)]
    counts = (scores >= at[:, None, None]).sum(1).reshape(-1)
    ends = np.array([(found.low, found.high) for found in exact])[counts]
    held |= ~whole & (ends[:, 0] <= _SOLVES) & (ends[:, 1] >= _SOLVES)
    shown |= ~whole
    student = 2 * quantile(seeds) * runs.std(1, ddof=1) / np.sqrt(seeds)
    width = (high - low)[shown].mean() / student[shown].mean() if shown.any() else np.nan
    return float(held.sum() / max(1, shown.sum())), float(shown.mean()), float(width)
