"""Results brought together: one row per variant, one summary per benchmark."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from attention_jax.kernels.errors import Refused
from attention_jax.study.plan import Plan
from attention_jax.study.results import Result
from attention_jax.study.statistics import Comparison, Estimate, estimate, higher_is_better, paired


@dataclass(frozen=True)
class Row:
    """One variant on one benchmark, over its seeds.

    Attributes:
      variant: its spec.
      score: mean and interval over the seeds that are done, None when none is.
      parameters: number of trained parameters.
      ms_per_step: mean over the seeds, in milliseconds.
      peak_bytes: largest of the seeds, in bytes.
      train_seconds: mean wall time of a run, in seconds.
      comparison: against the reference; None for the reference itself and where no seed is shared.
      notes: one line for each reason that seeds have no score, such as "refused (seeds 0, 1): ...".
    """

    variant: str
    score: Estimate | None
    parameters: int | None
    ms_per_step: float | None
    peak_bytes: int | None
    train_seconds: float | None
    comparison: Comparison | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """One benchmark: its rows best first, those without a score last; `metric` is None when no run is done."""

    benchmark: str
    metric: str | None
    higher_is_better: bool | None
    reference: str
    rows: tuple[Row, ...]

    @property
    def scored(self) -> list[Row]:
        """The rows that have a score, best first."""
        return [row for row in self.rows if row.score is not None]


def done(results: Sequence[Result], *, benchmark: str, variant: str | None = None) -> list[Result]:
    """Returns the finished results of one benchmark, of one variant or all."""
    return [
        result
        for result in results
        if result.status == "done" and result.benchmark == benchmark and variant in (None, result.variant)
    ]


def summaries(plan: Plan, results: Sequence[Result]) -> list[Summary]:
    """Returns the summary of every benchmark of `plan`, in its order; results outside the plan are left out.

    Raises:
      Refused: a benchmark has results under more than one metric, which cannot be put in one order.
    """
    planned = set(plan.trials())
    results = [result for result in results if result.trial in planned]
    return [_summary(plan, results, benchmark) for benchmark in plan.benchmarks]


def _summary(plan: Plan, results: Sequence[Result], benchmark: str) -> Summary:
    metrics = sorted({str(result.metric) for result in done(results, benchmark=benchmark)})
    if len(metrics) > 1:
        raise Refused(
            f"{benchmark} has results under {' and '.join(metrics)}, which cannot be compared: "
            "delete the lines of all but one from results.jsonl, or use a new workdir."
        )
    metric = metrics[0] if metrics else None
    rows = [_row(plan, results, benchmark, variant, metric=metric) for variant in plan.variants]
    rising = None if metric is None else higher_is_better(metric)
    rows.sort(key=lambda row: (row.score is None, 0.0 if row.score is None else row.score.mean * (-1 if rising else 1)))
    return Summary(benchmark, metric, rising, plan.reference, tuple(rows))


def _row(plan: Plan, results: Sequence[Result], benchmark: str, variant: str, *, metric: str | None) -> Row:
    notes = _notes(plan, results, benchmark, variant)
    finished = done(results, benchmark=benchmark, variant=variant)
    if metric is None or not finished:
        return Row(variant, None, None, None, None, None, None, notes)
    scores = _scores(finished)
    comparison = None
    if variant != plan.reference:
        comparison = paired(scores, _scores(done(results, benchmark=benchmark, variant=plan.reference)), metric=metric)
    return Row(
        variant,
        score=estimate(list(scores.values())),
        parameters=max((result.parameters for result in finished if result.parameters is not None), default=None),
        ms_per_step=_mean([result.ms_per_step for result in finished]),
        peak_bytes=max((result.peak_bytes for result in finished if result.peak_bytes is not None), default=None),
        train_seconds=_mean([result.train_seconds for result in finished]),
        comparison=comparison,
        notes=notes,
    )


def _scores(finished: Sequence[Result]) -> dict[int, float]:
    return {result.seed: result.score for result in finished if result.score is not None}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _notes(plan: Plan, results: Sequence[Result], benchmark: str, variant: str) -> tuple[str, ...]:
    """Groups the seeds without a score by what became of them."""
    by_seed = {result.seed: result for result in results if (result.benchmark, result.variant) == (benchmark, variant)}
    seeds_by_fate: dict[tuple[str, str], list[int]] = {}
    for seed in plan.seeds:
        result = by_seed.get(seed)
        if result is None:
            seeds_by_fate.setdefault(("not run", "the comparison was stopped"), []).append(seed)
        elif result.status != "done":
            seeds_by_fate.setdefault((result.status, " ".join(str(result.reason).split())), []).append(seed)
    return tuple(
        f"{fate} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}): {reason}"
        for (fate, reason), seeds in seeds_by_fate.items()
    )
