"""The reports of a comparison: report.json, report.md, report.html and the tables on the terminal."""

import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from attention_jax.study.charts import Look, cost_chart, curves_chart, scores_chart
from attention_jax.study.curves import Curve, learning_curves
from attention_jax.study.environment import Environment, environment
from attention_jax.study.intervals import CONFIDENCE
from attention_jax.study.overall import Overall, overall
from attention_jax.study.overview import save_svg
from attention_jax.study.page import Figure, Section, page
from attention_jax.study.plan import Plan
from attention_jax.study.results import Result
from attention_jax.study.sentences import explanation, heading, over_benchmarks, sentences, verdicts
from attention_jax.study.solved import steps_to_solve
from attention_jax.study.summary import Summary, done, summaries
from attention_jax.study.tables import (
    html_table,
    markdown_table,
    overall_html,
    overall_markdown,
    overall_terminal,
    terminal_table,
)
from attention_jax.study.tuning import Tuned
from attention_jax.study.tuning_report import (
    settings_explanation,
    tuning_json,
    tuning_lines,
    tuning_markdown,
    tuning_sections,
)
from attention_jax.training.workdir import write_atomically

_ZOOM = alt.selection_interval(name="zoom", bind="scales", zoom="wheel![event.shiftKey]")  # the wheel alone scrolls
_LOG_WIDTH = 100  # columns, where no terminal says how many there are


def summarise(
    plan: Plan, results: Sequence[Result], workdir: Path, *, command: str, tuned: Sequence[Tuned] = ()
) -> None:
    """Writes report.json, .md, .html and .svg into `workdir`, prints the tables and where the reports are.

    Args:
      plan: what was compared; trials without a result are shown as not run.
      results: what `compare` returned.
      workdir: the folder that they were trained in.
      command: what the reader types to run the comparison again.
      tuned: the search of each variant on each benchmark.

    Raises:
      Refused: a benchmark has results under more than one metric.
    """
    found = [with_steps_to_solve(summary, results, workdir) for summary in summaries(plan, results)]
    together = overall(found)
    here = environment()
    write_atomically(workdir / "report.json", report_json(plan, found, here, command=command, tuned=tuned))
    write_atomically(workdir / "report.md", report_markdown(plan, found, here, command=command, tuned=tuned))
    write_atomically(
        workdir / "report.html",
        report_html(plan, found, results, workdir, environment=here, command=command, tuned=tuned),
    )
    written = ["results.jsonl", *(["tuning.jsonl"] if tuned else []), "report.json", "report.md", "report.html"]
    if any(summary.scored for summary in found):
        save_svg(results, workdir, workdir / "report.svg")
        written.insert(-1, "report.svg")
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, highlight=False)
    for summary in found:
        console.print(terminal_table(summary, plan=plan))
        console.print()
    if together is not None:
        console.print(overall_terminal(together))
        console.print("\n".join([*over_benchmarks(together), ""]), markup=False)
    for line in (*tuning_lines(tuned), *explanation(plan), *settings_explanation(tuned, found)):
        console.print(line, markup=False)
    for name in written:
        print(workdir / name)


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
    plan: Plan, found: Sequence[Summary], here: Environment, *, command: str, tuned: Sequence[Tuned] = ()
) -> str:
    """Returns the tables with how to read and reproduce them."""
    facts = "\n".join(f"- {name}: {value}" for name, value in _facts(plan, here).items())
    reading = "\n".join(f"- {line}" for line in (*explanation(plan), *settings_explanation(tuned, found)))
    tables = "\n".join(markdown_table(summary, plan=plan) for summary in found)
    if (together := overall(found)) is not None:
        tables += "\n" + overall_markdown(together)
    tables += tuning_markdown(tuned)
    return (
        f"# {_title(plan)}\n\n{tables}\n## How to read the tables\n\n{reading}\n\n"
        f"## Reproduce\n\n```\n{command}\n```\n\n{facts}\n"
    )


def report_html(
    plan: Plan,
    found: Sequence[Summary],
    results: Sequence[Result],
    workdir: Path,
    *,
    environment: Environment,
    command: str,
    tuned: Sequence[Tuned] = (),
) -> str:
    """Returns the page with interactive charts and the tables; it loads nothing from anywhere."""
    look = Look(plan.variants)
    planned = len(list(plan.trials()))
    finished = sum(len(done(results, benchmark=benchmark)) for benchmark in plan.benchmarks)
    sections = [
        Section(
            title=summary.benchmark,
            lead=" ".join([f"Score: {heading(summary)}. {verdicts(summary)}", *sentences(summary, plan=plan)]),
            figures=_figures(summary, results, workdir, look, prefix=f"chart{index}"),
            table=html_table(summary, plan=plan),
        )
        for index, summary in enumerate(found)
    ]
    if (together := overall(found)) is not None:
        sections.append(_over_benchmarks(together))
    sections += tuning_sections(tuned, look)
    return page(
        title=_title(plan),
        lead=(
            f"{finished} of {planned} runs are done ({_counted(len(plan.seeds), 'seed')} each). "
            f"The reference is {plan.reference}. "
            "Point at a variant below to bring it out in every chart, click to keep it."
        ),
        look=look,
        sections=sections,
        explanation=[*explanation(plan), *settings_explanation(tuned, found)],
        facts=_facts(plan, environment),
        command=command,
    )


def with_steps_to_solve(summary: Summary, results: Sequence[Result], workdir: Path) -> Summary:
    """Returns `summary` with the median step at which each variant's seeds first solve the task.

    Of a task that is solved or not, where the learning curves are of the measure that the score is of; seeds whose
    curve never gets there are left out, as are variants of which none does.
    """
    if summary.solved_at is None:
        return summary
    curves = learning_curves(done(results, benchmark=summary.benchmark), workdir)
    if curves.metric is None or _measure(curves.metric) != _measure(str(summary.metric)):
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


def _over_benchmarks(together: Overall) -> Section:
    return Section("Over the benchmarks", " ".join(over_benchmarks(together)), [], overall_html(together))


def _figures(summary: Summary, results: Sequence[Result], workdir: Path, look: Look, *, prefix: str) -> list[Figure]:
    """Returns the charts of one benchmark that there is something to draw in."""
    if not summary.scored:
        return []
    curves = learning_curves(done(results, benchmark=summary.benchmark), workdir)
    better = "up" if summary.higher_is_better else "down"
    charts: list[tuple[str, str, alt.LayerChart | None]] = [
        (
            "Scores",
            "Mean, 95% interval where there is one, and each seed. Dashed: the reference.",
            scores_chart(summary, results, look),
        ),
        (
            "Learning curves",
            "Mean; seeds faint. Drag to move, shift + wheel to zoom, double click to reset.",
            curves_chart(curves, look).add_params(_ZOOM) if curves.runs else None,
        ),
        (
            "Score against time",
            f"Best is to the left and {better}. Vertical: 95% interval.",
            cost_chart(summary, look, cost="ms_per_step"),
        ),
        (
            "Score against memory",
            f"Best is to the left and {better}. Vertical: 95% interval.",
            cost_chart(summary, look, cost="peak_bytes"),
        ),
    ]
    return [
        Figure(f"{prefix}-{number}", title, reading, _spec(chart))
        for number, (title, reading, chart) in enumerate(charts)
        if chart is not None
    ]


def _spec(chart: alt.LayerChart) -> dict[str, Any]:
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(width="container", autosize=fit).add_params(alt.param(name="highlight", value="")).to_dict()
    # The page brings its own look, and names no address.
    return {key: value for key, value in spec.items() if key not in ("config", "$schema")}


def _title(plan: Plan) -> str:
    return f"{_counted(len(plan.variants), 'attention variant')} on {', '.join(plan.benchmarks)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _facts(plan: Plan, here: Environment) -> dict[str, str]:
    return {"seeds": ", ".join(map(str, plan.seeds)), **dataclasses.asdict(here)}
