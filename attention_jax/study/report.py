"""The reports of a comparison: report.json, report.md, report.html and the tables on the terminal."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from attention_jax.study.charts import Look, cost_chart, curves_chart, scores_chart
from attention_jax.study.curves import learning_curves
from attention_jax.study.environment import Environment, environment
from attention_jax.study.overview import save_svg
from attention_jax.study.page import Figure, Section, page
from attention_jax.study.plan import Plan
from attention_jax.study.results import Result
from attention_jax.study.statistics import CONFIDENCE
from attention_jax.study.summary import Summary, done, summaries
from attention_jax.study.tables import explanation, heading, html_table, markdown_table, terminal_table, verdicts
from attention_jax.training.workdir import write_atomically

_ZOOM = alt.selection_interval(name="zoom", bind="scales", zoom="wheel![event.shiftKey]")  # the wheel alone scrolls
_LOG_WIDTH = 100  # columns, where no terminal says how many there are


def summarise(plan: Plan, results: Sequence[Result], workdir: Path, *, command: str) -> None:
    """Writes report.json, .md, .html and .svg into `workdir`, prints the tables and where the reports are.

    Args:
      plan: what was compared; trials without a result are shown as not run.
      results: what `compare` returned.
      workdir: the folder that they were trained in.
      command: what the reader types to run the comparison again.

    Raises:
      Refused: a benchmark has results under more than one metric.
    """
    found = summaries(plan, results)
    here = environment()
    write_atomically(workdir / "report.json", report_json(plan, found, here, command=command))
    write_atomically(workdir / "report.md", report_markdown(plan, found, here, command=command))
    write_atomically(
        workdir / "report.html", report_html(plan, found, results, workdir, environment=here, command=command)
    )
    written = ["results.jsonl", "report.json", "report.md", "report.html"]
    if any(summary.scored for summary in found):
        save_svg(results, workdir, workdir / "report.svg")
        written.insert(-1, "report.svg")
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, highlight=False)
    for summary in found:
        console.print(terminal_table(summary, plan=plan))
        console.print()
    for line in explanation(plan):
        console.print(line)
    for name in written:
        print(workdir / name)


def report_json(plan: Plan, found: Sequence[Summary], here: Environment, *, command: str) -> str:
    """Returns everything the tables show, for a program; what does not exist is null."""
    report = {
        "command": command,
        "environment": dataclasses.asdict(here),
        "plan": dataclasses.asdict(plan),
        "reference": plan.reference,
        "confidence": CONFIDENCE,
        "benchmarks": [dataclasses.asdict(summary) for summary in found],
    }
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def report_markdown(plan: Plan, found: Sequence[Summary], here: Environment, *, command: str) -> str:
    """Returns the tables with how to read and reproduce them."""
    facts = "\n".join(f"- {name}: {value}" for name, value in _facts(plan, here).items())
    reading = "\n".join(f"- {line}" for line in explanation(plan))
    tables = "\n".join(markdown_table(summary, plan=plan) for summary in found)
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
) -> str:
    """Returns the page with interactive charts and the tables; it loads nothing from anywhere."""
    look = Look(plan.variants)
    planned = len(list(plan.trials()))
    finished = sum(len(done(results, benchmark=benchmark)) for benchmark in plan.benchmarks)
    sections = [
        Section(
            title=summary.benchmark,
            lead=f"Score: {heading(summary)}. {verdicts(summary)}",
            figures=_figures(summary, results, workdir, look, prefix=f"chart{index}"),
            table=html_table(summary, plan=plan),
        )
        for index, summary in enumerate(found)
    ]
    return page(
        title=_title(plan),
        lead=(
            f"{finished} of {planned} runs are done ({_counted(len(plan.seeds), 'seed')} each). "
            f"The reference is {plan.reference}. "
            "Point at a variant below to bring it out in every chart, click to keep it."
        ),
        look=look,
        sections=sections,
        explanation=explanation(plan),
        facts=_facts(plan, environment),
        command=command,
    )


def _figures(summary: Summary, results: Sequence[Result], workdir: Path, look: Look, *, prefix: str) -> list[Figure]:
    """Returns the charts of one benchmark that there is something to draw in."""
    if not summary.scored:
        return []
    curves = learning_curves(done(results, benchmark=summary.benchmark), workdir)
    better = "up" if summary.higher_is_better else "down"
    charts: list[tuple[str, str, alt.LayerChart | None]] = [
        (
            "Scores",
            "Mean, 95% interval and each seed. Dashed: the reference.",
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
