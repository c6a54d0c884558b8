"""report.csv: a row for each run of a comparison, with everything that results.jsonl says of it."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import Result


def runs_csv(plan: Plan, results: Sequence[Result], command_of: Callable[[Trial], str] | None) -> str:
    """Returns the rows in the order of the plan; of a run that was not run the status says so, and no more is known.

    A field that is a dict has a column for each of its keys, such as "versions.jax".

    Args:
      plan: what was compared.
      results: of its trials.
      command_of: of a trial, what trains it alone; None leaves the column empty.
    """
    by_trial = {result.trial: result for result in results}
    rows = []
    for trial in plan.trials():
        result = by_trial.get(trial)
        known: dict[str, Any] = dataclasses.asdict(trial) | {"status": "not run"}
        row = known if result is None else _flat(dataclasses.asdict(result))
        rows.append({**row, "command": "" if command_of is None else command_of(trial)})
    fields = [field.name for field in dataclasses.fields(Result)]
    found = {name for row in rows for name in row}
    columns = [name for field in fields for name in _columns(field, found)]
    file = io.StringIO()
    writer = csv.DictWriter(file, [*columns, "command"], restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return file.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _columns(field: str, found: set[str]) -> list[str]:
    return sorted(name for name in found if name.startswith(f"{field}.")) or [field]
