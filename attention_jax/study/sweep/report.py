"""The report of a sweep: report.html, report.md and report.json, trials.csv, and the importance of each key."""

import csv
import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from attention_jax.study.report.charts import Look, spec
from attention_jax.study.report.environment import environment
from attention_jax.study.report.html_table import plain_table
from attention_jax.study.report.page import Figure, Section, page
from attention_jax.study.report.tables import markdown
from attention_jax.study.statistics.measures import higher_is_better
from attention_jax.study.sweep import charts as sweep_charts
from attention_jax.study.sweep import end as sweep_end
from attention_jax.study.sweep.end import Found
from attention_jax.study.sweep.plan import OF_OUTCOME, Sweep, result_of
from attention_jax.training.run.workdir import write_atomically

# Fewer trials say nothing of what matters.
_LEAST_TRIALS = 5


def importances(study: optuna.Study) -> dict[str, float]:
    """Returns the share of the variance between trials that each key explains alone, by fANOVA, largest first.

    Of the keys that every trial has, and of the trials that ran to their end; none where there are fewer than five of
    those or they do not differ.

    Hutter, Hoos, Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance.
    """
    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(values) < _LEAST_TRIALS or len(set(values)) == 1:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def write_report(study: optuna.Study, sweep: Sweep, end: Found, workdir: Path, *, command: str) -> list[Path]:
    """Writes the files of the report into the folder of a sweep, and returns their paths.

    Args:
      study: of the sweep.
      sweep: what was searched.
      end: what was found.
      workdir: the folder.
      command: what reproduces it.
    """
    shares = importances(study)
    facts = {**_facts(sweep), **dataclasses.asdict(environment())}
    texts = {
        "trials.csv": trials_csv(end),
        "report.json": report_json(end, shares, facts, command=command),
        "report.md": report_markdown(end, shares, facts, command=command),
        "report.html": report_html(end, shares, facts, command=command),
    }
    for name, text in texts.items():
        write_atomically(workdir / name, text)
    return [workdir / name for name in texts]


def trials_csv(end: Found) -> str:
    """Returns a line for each trial: how it ended, its value, the keys that it set, what it took."""
    columns = ["trial", "status", "value", *sweep_end.keys(end), *OF_OUTCOME, "same_as", "again", "reason"]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for trial in end.trials:
        same = {name: trial.user_attrs.get(name) for name in ("same_as", "again")}
        point = end.points.get(trial.number, {})
        row = {"trial": trial.number, "status": "not run", "value": _value(trial), **point, **result_of(trial), **same}
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return file.getvalue()


def report_json(end: Found, shares: dict[str, float], facts: dict[str, str], *, command: str) -> str:
    """Returns everything that the tables show, for a program; what does not exist is null."""
    trials = [
        {
            "trial": trial.number,
            "point": end.points.get(trial.number, {}),
            "value": _value(trial),
            "evaluations": trial.intermediate_values,
            **{"status": "not run", "reason": None, **result_of(trial)},
        }
        for trial in end.trials
    ]
    best = [
        {"trial": one.trial.number, "point": one.point, "values": one.values, "tests": one.tests}
        for one in end.finalists
    ]
    report = {"command": command, "environment": facts, "metric": end.metric, "importance": shares}
    return json.dumps({**report, "trials": trials, "best": best}, indent=2, allow_nan=False) + "\n"


def report_markdown(end: Found, shares: dict[str, float], facts: dict[str, str], *, command: str) -> str:
    """Returns the tables with what they are and how to reproduce them."""
    keys = sweep_end.keys(end)
    head = ["trial", *keys, "in the search", "fresh seeds", "each"]
    lines = markdown(head, _best_rows(end), words=head)
    of_trials = ["trial", "status", end.metric, *keys, "reason"]
    every = markdown(of_trials, _trial_rows(end), words=of_trials)
    important = "\n".join(f"- {key}: {share:.1%}" for key, share in shares.items()) or _NO_SHARES
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    reading = "\n".join(f"- {line}" for line in _explanation(end))
    return "\n\n".join([
        f"# {_title(end)}", _lead(end), "## The best", "\n".join(lines), "## Importance", important,
        "## Every trial", "\n".join(every), "## How to read it", reading,
        "## Reproduce", f"```\n{command}\n```", listed]) + "\n"  # fmt: skip


def report_html(end: Found, shares: dict[str, float], facts: dict[str, str], *, command: str) -> str:
    """Returns the page with the charts, which loads nothing from anywhere."""
    keys = sweep_end.keys(end)
    best = _wide(["trial", *keys, "in the search", "fresh seeds", "each"], _best_rows(end))
    every = _wide(["trial", "status", end.metric, *keys, "reason"], _trial_rows(end))
    return page(
        title=_title(end),
        lead=_lead(end),
        look=Look([]),
        sections=[
            Section("The best", "", _figures(end, shares), best),
            Section("Every trial", sweep_end.summary(end), [], every),
        ],
        explanation=_explanation(end),
        facts=facts,
        command=command,
    )


def _figures(end: Found, shares: dict[str, float]) -> list[Figure]:
    rows: list[dict[str, Any]] = [
        {"trial": trial.number, "value": _value(trial), **drawn(trial)} for trial in end.trials
    ]
    if all(row["value"] is None for row in rows):
        return []
    rising, keys = higher_is_better(end.metric), list(dict.fromkeys(key for one in end.trials for key in drawn(one)))
    charts = [
        ("History", "Each trial, and the best so far.", sweep_charts.history_chart(rows, end.metric, rising=rising)),
        (
            "Parallel coordinates",
            "A line is a trial, from key to key, coloured by its value.",
            sweep_charts.parallel_chart(rows, keys, end.metric, rising=rising),
        ),
        *(
            (
                key,
                "Each trial over this key, whatever the others were.",
                sweep_charts.slice_chart(rows, key, end.metric),
            )
            for key in keys
        ),
    ]
    if shares:
        heading = ("Importance", "By fANOVA, of the keys that every trial has; the rest is in keys together.")
        charts.insert(1, (*heading, sweep_charts.importance_chart(shares)))
    return [
        Figure(f"chart{place}", heading, reading, spec(chart)) for place, (heading, reading, chart) in enumerate(charts)
    ]


def drawn(trial: FrozenTrial) -> dict[str, Any]:
    """Returns what charts show of a trial: a variant by its name, and its searched options beside it."""
    nested = {name.partition(":")[0] for name in trial.params if ":" in name}
    short = {
        key: value.partition(":")[0] if f"{key}={str(value).partition(':')[0]}" in nested else value
        for key, value in trial.params.items()
    }
    return {name.rpartition("=")[2]: value for name, value in short.items()}


_NO_SHARES = f"Fewer than {_LEAST_TRIALS} trials ran to their end, or they do not differ: no importance can be said."


def _title(end: Found) -> str:
    return f"A sweep of {', '.join(sweep_end.keys(end))}"


def _lead(end: Found) -> str:
    said = f"{sweep_end.summary(end)}. What decides is {end.metric}, {end.where}, never the test split."
    if end.best is None:
        return f"{said} No trial ran to its end."
    tests = list(end.best.tests.values())
    tested = f" On the test split it has {sweep_end.spread(tests)}." if tests else ""
    return f"{said} The best is trial {end.best.trial.number}: {sweep_end.mean(end.best)} on fresh seeds.{tested}"


def _explanation(end: Found) -> list[str]:
    return [
        f"In the search: {end.metric} {end.where}, on the one seed of the search. The first is often a lucky one.",
        "Fresh seeds: the mean of the same on seeds that the search did not use, ± the standard deviation. It decides.",
        "Pruned trials have no value here; a refused or failed one has its reason.",
    ]


def _facts(sweep: Sweep) -> dict[str, str]:
    return {
        "space": str(sweep.space),
        "sampler": f"{sweep.sampler}, seed {sweep.seed}",
        "pruner": sweep.pruner,
        "config": sweep.base.owner,
        "fresh seeds": ", ".join(map(str, sweep.seeds)),
        "optuna": optuna.__version__,
    }


def _best_rows(end: Found) -> list[list[str]]:
    return [
        [
            str(one.trial.number),
            *(sweep_end.shown(one.point.get(key, "")) for key in sweep_end.keys(end)),
            sweep_end.number(one.trial.value),
            sweep_end.mean(one),
            sweep_end.each(one),
        ]
        for one in end.finalists
    ]


def _trial_rows(end: Found) -> list[list[str]]:
    rows = []
    for trial in end.trials:
        point = end.points.get(trial.number, {})
        attrs, result = trial.user_attrs, result_of(trial)
        reason = f"the same as trial {attrs['same_as']}" if "same_as" in attrs else result.get("reason") or ""
        cells = [sweep_end.shown(point.get(key, "")) for key in sweep_end.keys(end)]
        rows.append(
            [str(trial.number), result.get("status", "not run"), sweep_end.number(_value(trial)), *cells, reason]
        )
    return rows


def _value(trial: FrozenTrial) -> float | None:
    """The value of a trial that ran to its end: that of a pruned one is of another step."""
    return trial.value if trial.state == TrialState.COMPLETE else None


def _wide(head: list[str], rows: list[list[str]]) -> str:
    return f'<div class="wide">{plain_table(head, rows)}</div>'
