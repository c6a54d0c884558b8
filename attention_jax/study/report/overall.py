"""All benchmarks of a comparison together: mean ranks and the probability of being better than the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from attention_jax.study.report.summary import Row, Summary
from attention_jax.study.statistics.ranks import Chance, probability_of_better, ranks


@dataclass(frozen=True)
class Overall:
    """The variants that have a score on every benchmark counted.

    Attributes:
      benchmarks: those counted.
      reference: the variant compared with.
      ranks: variant -> mean rank, best first.
      p: of Friedman's test; None with fewer than three variants.
      critical: the difference of mean ranks that separates two variants (Nemenyi).
      better: variant -> the probability that one of its runs beats one of the reference.
    """

    benchmarks: tuple[str, ...]
    reference: str
    ranks: dict[str, float]
    p: float | None
    critical: float
    better: dict[str, Chance]

    @property
    def most(self) -> float:
        """The largest difference that two mean ranks can have."""
        return len(self.ranks) - 1.0


def overall(found: Sequence[Summary]) -> Overall | None:
    """Returns what the benchmarks say together; None where fewer than two have a score of two same variants.

    A variant that lacks a score on some benchmark is left out, so that a refusal does not take the benchmark from the
    rest; benchmarks without any score are too.
    """
    scored = [summary for summary in found if summary.scored]
    if not scored:
        return None
    everywhere = set.intersection(*({row.variant for row in summary.scored} for summary in scored))
    rows = {s.benchmark: {row.variant: row for row in s.scored if row.variant in everywhere} for s in scored}
    means = {name: {v: row.score.mean for v, row in kept.items() if row.score} for name, kept in rows.items()}
    order = ranks(means, rising={summary.benchmark: bool(summary.higher_is_better) for summary in scored})
    if order is None:
        return None
    reference = scored[0].reference
    better = {}
    for variant in order.mean:
        if variant != reference and reference in everywhere:
            pairs = [(_runs(rows[s.benchmark][variant], s), _runs(rows[s.benchmark][reference], s)) for s in scored]
            better[variant] = probability_of_better(pairs)
    return Overall(order.benchmarks, reference, order.mean, order.p, order.critical, better)


def _runs(row: Row, summary: Summary) -> list[float]:
    assert row.score is not None
    return [run if summary.higher_is_better else -run for run in row.score.runs]
