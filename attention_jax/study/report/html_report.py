"""report.html of a comparison: its charts, tables and runs as the sections of a page."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from attention_jax.study.comparison.curves import Curves
from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import Result
from attention_jax.study.comparison.tuning import Tuned
from attention_jax.study.report.charts import Look, curves_chart, most_drawn, scores_chart, spec
from attention_jax.study.report.html_table import cost_html, html_table, overall_html
from attention_jax.study.report.overall import overall
from attention_jax.study.report.page import Figure, Section, page
from attention_jax.study.report.pareto_chart import pareto_chart
from attention_jax.study.report.run_table import accounted, run_table
from attention_jax.study.report.sentences import (
    counted,
    explanation,
    heading,
    over_benchmarks,
    sentences,
    title,
    verdicts,
)
from attention_jax.study.report.slices_report import slices_section
from attention_jax.study.report.summary import Summary, done
from attention_jax.study.report.tuning_report import tuning_sections

_ZOOM = alt.selection_interval(name="zoom", bind="scales", zoom="wheel![event.shiftKey]")  # the wheel alone scrolls


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
      plan: what was compared.
      found: its summaries.
      results: of its trials.
      curves: benchmark -> its learning curves.
      beside: benchmark -> lines on its baselines.
      tuned: the search of each variant on each benchmark.
      settings: how the settings of the runs came about, a line each.
      facts: name -> value, of where all of it comes from.
      command: what the reader types to run the comparison again.
      command_of: of a trial, what trains it alone; None where there is no such command.
    """

    plan: Plan
    found: Sequence[Summary]
    results: Sequence[Result]
    curves: Mapping[str, Curves]
    beside: Mapping[str, Sequence[str]]
    tuned: Sequence[Tuned]
    settings: Sequence[str]
    facts: Mapping[str, str]
    command: str
    command_of: Callable[[Trial], str] | None

    @functools.cached_property
    def look(self) -> Look:
        """How each variant is drawn."""
        return Look(self.plan.variants)


def report_html(contents: Contents) -> str:
    """Returns the page with interactive charts and the tables; it loads nothing from anywhere."""
    plan, found = contents.plan, contents.found
    finished = sum(len(done(contents.results, benchmark=benchmark)) for benchmark in plan.benchmarks)
    sections = [section for summary in found for section in _of_benchmark(contents, summary)]
    if (together := overall(found)) is not None:
        lead = " ".join(over_benchmarks(together))
        sections.append(Section("Over the benchmarks", lead, [], overall_html(together)))
    sections += tuning_sections(contents.tuned, contents.look)
    sections.append(_of_runs(contents))
    return page(
        title=title(plan),
        lead=(
            f"{finished} of {counted(len(list(plan.trials())), 'run')} are done ({counted(len(plan.seeds), 'seed')} "
            f"each). The reference is {plan.reference}. "
            "Point at a variant below to bring it out in every chart, click to keep it. "
            "A click on the head of a column sorts by it, one on a score leads to its runs."
        ),
        look=contents.look,
        sections=sections,
        explanation=[*explanation(plan), *contents.settings],
        facts=contents.facts,
        command=contents.command,
    )


def _of_benchmark(contents: Contents, summary: Summary) -> list[Section]:
    plan = contents.plan
    costs = f"\n<h3>Costs</h3>\n{cost_html(summary)}" if summary.scored else ""
    said = [f"Score: {heading(summary)}. {verdicts(summary)}", *sentences(summary, plan=plan)]
    whole = Section(
        title=summary.benchmark,
        lead=" ".join([*said, *contents.beside.get(summary.benchmark, ())]),
        figures=_figures(contents, summary),
        table=f"{html_table(summary, plan=plan)}{costs}",
    )
    if summary.slices is None:
        return [whole]
    return [
        whole,
        slices_section(summary, contents.look, prefix=_name(contents, summary.benchmark, "slices")),
    ]


def _of_runs(contents: Contents) -> Section:
    charts = {
        Trial(benchmark, run.variant, run.seed): _name(contents, benchmark, "curves")
        for benchmark, curves in contents.curves.items()
        for run in curves.runs
    }
    filtered = '<p class="filter" hidden><span></span><button type="button">Show all runs</button></p>'
    table = run_table(contents.plan, contents.results, command_of=contents.command_of, charts=charts)
    lead = f"{accounted(contents.plan, contents.results)} The command of a run trains it again, alone."
    return Section("All runs", lead, [], f"{filtered}\n{table}")


def _name(contents: Contents, benchmark: str, what: str) -> str:
    """Returns the name of a figure."""
    return f"{what}-{contents.plan.benchmarks.index(benchmark)}"


def _figures(contents: Contents, summary: Summary) -> list[Figure]:
    """Returns the charts of one benchmark that there is something to draw in."""
    if not summary.scored:
        return []
    curves, look, better = contents.curves[summary.benchmark], contents.look, summary.higher_is_better
    most = most_drawn(contents.curves.values())
    charts: list[tuple[str, str, str, alt.LayerChart | None]] = [
        (
            "scores",
            "Scores",
            "Mean, 95% interval where there is one, and each seed. Dashed: the reference.",
            scores_chart(summary, contents.results, look),
        ),
        (
            "curves",
            "Learning curves",
            "Mean; seeds faint. Drag to move, shift + wheel to zoom, double click to reset.",
            curves_chart(curves, look, most=most).add_params(_ZOOM) if curves.runs else None,
        ),
        (
            "cost",
            "Score against cost",
            "Choose the cost below. Filled, along the grey line: the Pareto front, which no other variant beats in "
            f"score and cost at once. Best is {'up' if better else 'down'} and to the left, of tokens per second to "
            "the right. Vertical: 95% interval.",
            pareto_chart(summary, look),
        ),
    ]
    return [
        Figure(_name(contents, summary.benchmark, what), caption, reading, spec(chart))
        for what, caption, reading, chart in charts
        if chart is not None
    ]
