"""The table of all runs: every cell accounted for, each with what trains it again, its log, its curve."""

import html
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import Result
from attention_jax.study.report.costs import cost_text
from attention_jax.study.report.html_table import runs_anchor, table, td, variant_td
from attention_jax.study.report.numbers import number
from attention_jax.study.report.provenance import company, other_version

_COLUMNS = (
    *("benchmark", "variant", "seed", "status", "score", "leads to", "ms/step", "measured"),
    *("compiled", "cached", "note"),
)
_WORDS = ("benchmark", "variant", "status", "measured", "leads to", "note")


def accounted(plan: Plan, results: Sequence[Result]) -> str:
    """Returns how many runs ended how: "1000 runs: 980 done, 15 refused, 5 not run."."""
    status = {result.trial: result.status for result in results}
    counts = Counter(status.get(trial, "not run") for trial in plan.trials())
    listed = ", ".join(f"{counts[name]} {name}" for name in ("done", "refused", "failed", "not run") if counts[name])
    return f"{counts.total()} runs: {listed}."


def run_table(
    plan: Plan,
    results: Sequence[Result],
    *,
    command_of: Callable[[Trial], str] | None,
    charts: Mapping[Trial, str],
) -> str:
    """Returns the <table> with a row for each trial of the plan, in its order.

    Args:
      plan: what was compared.
      results: of its trials.
      command_of: of a trial, what trains it alone; None where there is no such command.
      charts: the name of the figure that has the curve of a trial, where one has.
    """
    by_trial = {result.trial: result for result in results}
    rows, begun = [], set()
    for trial in plan.trials():
        anchor = runs_anchor(plan, trial.benchmark, trial.variant)
        command = "" if command_of is None else command_of(trial)
        line = _cells(trial, by_trial.get(trial), command=command, chart=charts.get(trial))
        name = "" if anchor in begun else f' id="{anchor}"'
        begun.add(anchor)
        rows.append(f'<tr data-of="{anchor}"{name}>{line}</tr>')
    return table(_COLUMNS, rows, words=_WORDS, attributes=' id="runs"')


def _cells(trial: Trial, result: Result | None, *, command: str, chart: str | None) -> str:
    status = "not run" if result is None else result.status
    begin = td(trial.benchmark) + variant_td(trial.variant) + td(str(trial.seed))
    state = td(status, classes=status if status in ("refused", "failed") else "")
    if result is None:
        ways = _leads(trial, "", command, None)
        return f"{begin}{state}{td('-')}{ways}{td('-') * 4}{td('the comparison was stopped', classes='note')}"
    counts = (td("-" if count is None else str(count)) for count in (result.compilations, result.cache_hits))
    score = "-" if result.score is None else number(result.score)
    other = other_version(result)
    flag = f'<strong class="other">other versions: {html.escape(other)}</strong> ' if other else ""
    reason = html.escape(" ".join((result.reason or "").split()))
    return (
        f"{begin}{state}{td(score, value=result.score)}{_leads(trial, result.log or '', command, chart)}"
        f"{td(cost_text('ms_per_step', result.ms_per_step), value=result.ms_per_step)}{td(company(result.beside))}"
        f'{"".join(counts)}<td class="note">{flag}{reason}</td>'
    )


def _leads(trial: Trial, log: str, command: str, chart: str | None) -> str:
    """Returns the cell with the ways from a run: its curve, its log, its command."""
    ways = []
    if chart is not None:
        run = html.escape(f"{trial.seed} {trial.variant}")
        ways.append(f'<a href="#{chart}" data-run="{run}">curve</a>')
    if log:
        ways.append(f'<a href="{html.escape(quote(log))}">log</a>')
    if command:
        ways.append(f"<details><summary>command</summary><code>{html.escape(command)}</code></details>")
    return f'<td class="ways">{" ".join(ways)}</td>'
