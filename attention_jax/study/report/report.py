"""The reports of a comparison: its files, each made in a module of its own, and the tables on the terminal."""

import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from attention_jax.study.comparison.curves import Curve, Curves, learning_curves
from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import Result
from attention_jax.study.comparison.tuning import Tuned
from attention_jax.study.report.baseline_lines import baseline_lines
from attention_jax.study.report.csv_table import runs_csv
from attention_jax.study.report.environment import Environment, environment
from attention_jax.study.report.html_report import Contents, report_html
from attention_jax.study.report.latex import report_latex
from attention_jax.study.report.overall import overall
from attention_jax.study.report.overview import save_svg
from attention_jax.study.report.provenance import facts_of
from attention_jax.study.report.sentences import explanation, over_benchmarks, title
from attention_jax.study.report.slices_report import slices_markdown
from attention_jax.study.report.summary import Summary, done, summaries
from attention_jax.study.report.tables import (
    cost_markdown,
    markdown_table,
    overall_markdown,
    overall_terminal,
    terminal_table,
)
from attention_jax.study.report.tuning_report import (
    TunedBefore,
    settings_explanation,
    tuning_json,
    tuning_lines,
    tuning_markdown,
)
from attention_jax.study.statistics.intervals import CONFIDENCE
from attention_jax.study.statistics.solved import steps_to_solve
from attention_jax.training.run.workdir import write_atomically

_LOG_WIDTH = 100  # columns, where no terminal says how many there are


def summarise(
    plan: Plan,
    results: Sequence[Result],
    workdir: Path,
    *,
    command: str,
    command_of: Callable[[Trial], str] | None = None,
    tuned: Sequence[Tuned] = (),
    tuned_before: TunedBefore | None = None,
) -> None:
    """Writes report.json, .md, .csv, .tex, .html and .svg into `workdir`, prints the tables and where the reports are.

    Args:
      plan: what was compared; trials without a result are shown as not run.
      results: what `compare` returned.
      workdir: the folder that they were trained in.
      command: what the reader types to run the comparison again.
      command_of: of a trial, what the reader types to train it alone; None where there is no such command.
      tuned: the search of each variant on each benchmark.
      tuned_before: what the config says was tuned beforehand, by benchmark and variant.

    Raises:
      Refused: a benchmark has results under more than one metric.
    """
    curves = {name: learning_curves(done(results, benchmark=name), workdir) for name in plan.benchmarks}
    found = [with_steps_to_solve(summary, curves[summary.benchmark]) for summary in summaries(plan, results)]
    here = environment()
    facts = {"seeds": ", ".join(map(str, plan.seeds)), **dataclasses.asdict(here), **facts_of(results)}
    beside = {summary.benchmark: baseline_lines(summary, workdir) for summary in found}
    settings = settings_explanation(tuned, found, tuned_before or {})
    page = Contents(plan, found, results, curves, beside, tuned, settings, facts, command, command_of)
    texts = {
        "report.json": report_json(plan, found, here, command=command, tuned=tuned),
        "report.md": report_markdown(plan, found, facts, beside, settings, command=command, tuned=tuned),
        "report.csv": runs_csv(plan, results, command_of),
        "report.tex": report_latex(plan, found, command=command),
        "report.html": report_html(page),
    }
    for name, text in texts.items():
        write_atomically(workdir / name, text)
    written = ["results.jsonl", *(["tuning.jsonl"] if tuned else []), *texts]
    if any(summary.scored for summary in found):
        save_svg(plan, found, results, curves, workdir / "report.svg")
        written.insert(-1, "report.svg")
    _print_tables(plan, found, beside, tuned, settings)
    for name in written:
        print(workdir / name)


def _print_tables(
    plan: Plan,
    found: Sequence[Summary],
    beside: Mapping[str, Sequence[str]],
    tuned: Sequence[Tuned],
    settings: Sequence[str],
) -> None:
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, highlight=False)
    for summary in found:
        console.print(terminal_table(summary, plan=plan))
        console.print("\n".join([*beside[summary.benchmark], ""]), markup=False)
    if (together := overall(found)) is not None:
        console.print(overall_terminal(together))
        console.print("\n".join([*over_benchmarks(together), ""]), markup=False)
    for line in (*tuning_lines(tuned), *explanation(plan), *settings):
        console.print(line, markup=False)


def report_json(
    plan: Plan, found: Sequence[Summary], here: Environment, *, command: str, tuned: Sequence[Tuned] = ()
) -> str:
    """Returns everything the tables show, for a program; what does not exist is null."""
    report = {
        "command": command,
        "environment": dataclasses.asdict(here),
        "plan": dataclasses.asdict(plan),
        "reference": plan.reference,
        "confidence": CONFIDENCE,
        "benchmarks": [dataclasses.asdict(summary) for summary in found],
        "overall": None if (together := overall(found)) is None else dataclasses.asdict(together),
        "tuning": tuning_json(tuned),
    }
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def report_markdown(
    plan: Plan,
    found: Sequence[Summary],
    facts: Mapping[str, str],
    beside: Mapping[str, Sequence[str]],
    settings: Sequence[str],
    *,
    command: str,
    tuned: Sequence[Tuned] = (),
) -> str:
    """Returns the tables with how to read and reproduce them.

    Args:
      plan: what was compared.
      found: its summaries.
      facts: name -> value, of where all of it comes from.
      beside: benchmark -> lines on its baselines.
      settings: how the settings of the runs came about, a line each.
      command: what the reader types to run the comparison again.
      tuned: the search of each variant on each benchmark.
    """
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    reading = "\n".join(f"- {line}" for line in (*explanation(plan), *settings))
    tables = "\n".join(
        markdown_table(summary, plan=plan)
        + "".join(f"\n{line}\n" for line in beside.get(summary.benchmark, ()))
        + cost_markdown(summary)
        + slices_markdown(summary)
        for summary in found
    )
    if (together := overall(found)) is not None:
        tables += "\n" + overall_markdown(together)
    tables += tuning_markdown(tuned)
    return (
        f"# {title(plan)}\n\n{tables}\n## How to read the tables\n\n{reading}\n\n"
        f"## Reproduce\n\n```\n{command}\n```\n\n{listed}\n"
    )


def with_steps_to_solve(summary: Summary, curves: Curves) -> Summary:
    """Returns `summary` with the median step at which each variant's seeds first solve the task.

    Of a task that is solved or not, where the learning curves are of the measure that the score is of; seeds whose
    curve never gets there are left out, as are variants of which none does.
    """
    if summary.solved_at is None or curves.metric is None or _measure(curves.metric) != _measure(str(summary.metric)):
        return summary
    steps = {
        row.variant: _steps([run for run in curves.runs if run.variant == row.variant], summary)
        for row in summary.scored
    }
    return dataclasses.replace(
        summary, steps_to_solve={variant: statistics.median(found) for variant, found in steps.items() if found}
    )


def _steps(runs: Sequence[Curve], summary: Summary) -> list[int]:
    assert summary.solved_at is not None
    rising = bool(summary.higher_is_better)
    found = (steps_to_solve(run.points, at=summary.solved_at, rising=rising) for run in runs)
    return [step for step in found if step is not None]


def _measure(metric: str) -> str:
    """Returns what is measured, without on what: "accuracy" of "test_accuracy"."""
    return metric.removeprefix("test_").removeprefix("validation_")
