"""Results brought together: one row per variant, one summary per benchmark."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.comparison.results import Result
from attention_jax.study.report.slices import Slices, slices_of
from attention_jax.study.statistics.intervals import Estimate, estimate
from attention_jax.study.statistics.measures import bounds, higher_is_better
from attention_jax.study.statistics.power import Outlook, outlook
from attention_jax.study.statistics.solved import Solved, solved, threshold
from attention_jax.study.statistics.verdicts import Comparison, against_reference, complete, tie_groups


@dataclass(frozen=True)
class Row:
    """One variant on one benchmark, over its seeds.

    Attributes:
      variant: its spec.
      score: mean and interval over the seeds that are done, None when none is.
      solved: in how many seeds it solved a task that is solved or not; None on any other.
      parameters: number of trained parameters.
      ms_per_step: mean over the seeds, in milliseconds.
      peak_bytes: largest of the seeds, in bytes.
      train_seconds: mean wall time of a run, in seconds.
      comparison: against the reference; None for the reference itself and where no seed is shared.
      notes: one line for each reason that seeds have no score, such as "refused (seeds 0, 1): ...".
      ms_per_step_spread: how far the quartiles of a run's windows are apart, the mean over the seeds, in milliseconds.
      tokens_per_second: mean over the seeds; None where examples have no tokens.
      flops_per_step: mean over the seeds.
      compile_seconds: the longest of the seeds: the others may have had their program from the cache.
      decode_bytes: what one sequence holds while it is decoded; None where there is no decoding.
      beside: how many other workers could train at the same time, each number that seeds were measured with.
    """

    variant: str
    score: Estimate | None
    solved: Solved | None
    parameters: int | None
    ms_per_step: float | None
    peak_bytes: int | None
    train_seconds: float | None
    comparison: Comparison | None
    notes: tuple[str, ...]
    ms_per_step_spread: float | None = None
    tokens_per_second: float | None = None
    flops_per_step: float | None = None
    compile_seconds: float | None = None
    decode_bytes: int | None = None
    beside: tuple[int, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One benchmark.

    Attributes:
      benchmark: its name.
      metric, higher_is_better: None when no run is done.
      reference: the variant compared with.
      rows: best first, those without a score last.
      solved_at: the score that divides the runs that solve the task from the others; None where there is no such gap.
      seeds: those that the verdicts are drawn from, which every variant with a verdict has; none without verdicts.
      groups: of variants of which no two are separated, best first.
      outlook: what the study could have found and what more seeds would; None without verdicts.
      steps_to_solve: variant -> median first step at which its learning curves reach `solved_at`.
      slices: the scores in each slice of the task; None where it gives none.
    """

    benchmark: str
    metric: str | None
    higher_is_better: bool | None
    reference: str
    rows: tuple[Row, ...]
    solved_at: float | None = None
    seeds: tuple[int, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    outlook: Outlook | None = None
    steps_to_solve: dict[str, float] = field(default_factory=dict)
    slices: Slices | None = None

    @property
    def scored(self) -> list[Row]:
        """The rows that have a score, best first."""
        return [row for row in self.rows if row.score is not None]


@dataclass(frozen=True)
class _Reading:
    """How the scores of one benchmark are read: the bounds of the measure, its direction, and what solves the task."""

    within: tuple[float, float]
    rising: bool
    solved_at: float | None


def done(results: Sequence[Result], *, benchmark: str, variant: str | None = None) -> list[Result]:
    """Returns the finished results of one benchmark, of one variant or all."""
    return [
        result
        for result in results
        if result.status == "done" and result.benchmark == benchmark and variant in (None, result.variant)
    ]


def summaries(plan: Plan, results: Sequence[Result], *, solved_at: Mapping[str, float] | None = None) -> list[Summary]:
    """Returns the summary of every benchmark of `plan`, in its order; results outside the plan are left out.

    Args:
      plan: what was compared.
      results: of its trials.
      solved_at: benchmark -> the score from which on a run has solved it; where none is given it is looked for.

    Raises:
      Refused: a benchmark has results under more than one metric, which cannot be put in one order.
    """
    planned = set(plan.trials())
    results = [result for result in results if result.trial in planned]
    return [_summary(plan, results, benchmark, (solved_at or {}).get(benchmark)) for benchmark in plan.benchmarks]


def _summary(plan: Plan, results: Sequence[Result], benchmark: str, solved_at: float | None) -> Summary:
    metrics = sorted({str(result.metric) for result in done(results, benchmark=benchmark)})
    if len(metrics) > 1:
        raise Refused(
            f"{benchmark} has results under {' and '.join(metrics)}, which cannot be compared: "
            "delete the lines of all but one from results.jsonl, or use a new workdir."
        )
    finished = {variant: done(results, benchmark=benchmark, variant=variant) for variant in plan.variants}
    scores = {variant: _scores(found) for variant, found in finished.items() if found}
    notes = {variant: _notes(plan, results, benchmark, variant) for variant in plan.variants}
    if not metrics:
        rows = tuple(_row(variant, [], {}, None, notes=notes[variant]) for variant in plan.variants)
        return Summary(benchmark, None, None, plan.reference, rows)
    rising, within = higher_is_better(metrics[0]), bounds(metrics[0])
    if solved_at is None:
        solved_at = threshold([list(runs.values()) for runs in scores.values()], within=within)
    part = complete(scores, reference=plan.reference)
    compared = against_reference(scores, part, reference=plan.reference, rising=rising)
    reading = _Reading(within, rising, solved_at)
    table = [
        _row(v, finished[v], scores.get(v, {}), reading, comparison=compared.get(v), notes=notes[v])
        for v in plan.variants
    ]
    table.sort(key=lambda row: (row.score is None, row.score.mean * (-1 if rising else 1) if row.score else 0.0))
    undecided = [row.variant for row in table if row.comparison and row.comparison.verdict == "not separated"]
    return Summary(
        benchmark,
        metrics[0],
        rising,
        plan.reference,
        tuple(table),
        solved_at=solved_at,
        seeds=part.seeds if part else (),
        groups=tuple(tie_groups(part, rising=rising)) if part else (),
        outlook=outlook(part, undecided) if part else None,
        slices=slices_of(finished, reference=plan.reference, rising=rising),
    )


def _row(
    variant: str,
    finished: Sequence[Result],
    scores: Mapping[int, float],
    reading: _Reading | None,
    *,
    notes: tuple[str, ...],
    comparison: Comparison | None = None,
) -> Row:
    runs = list(scores.values())
    if not runs or reading is None:
        return Row(variant, None, None, None, None, None, None, None, notes)
    return Row(
        variant,
        score=estimate(runs, within=reading.within, solved_or_not=reading.solved_at is not None),
        solved=None if reading.solved_at is None else solved(runs, at=reading.solved_at, rising=reading.rising),
        parameters=_most(finished, "parameters"),
        ms_per_step=_mean(finished, "ms_per_step"),
        peak_bytes=_most(finished, "peak_bytes"),
        train_seconds=_mean(finished, "train_seconds"),
        comparison=comparison,
        notes=notes,
        ms_per_step_spread=_mean(finished, "ms_per_step_spread"),
        tokens_per_second=_mean(finished, "tokens_per_second"),
        flops_per_step=_mean(finished, "flops_per_step"),
        compile_seconds=_most(finished, "compile_seconds"),
        decode_bytes=_most(finished, "decode_bytes"),
        beside=tuple(sorted(set(_known(finished, "beside")))),
    )


def _scores(finished: Sequence[Result]) -> dict[int, float]:
    return {result.seed: result.score for result in finished if result.score is not None}


def _known(results: Sequence[Result], name: str) -> list[Any]:
    return [value for result in results if (value := getattr(result, name)) is not None]


def _mean(results: Sequence[Result], name: str) -> float | None:
    known = _known(results, name)
    return statistics.fmean(known) if known else None


def _most(results: Sequence[Result], name: str) -> Any:
    return max(_known(results, name), default=None)


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
