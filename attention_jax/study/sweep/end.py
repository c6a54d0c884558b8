"""What a sweep found: the best trials with their fresh seeds, the table, and `best.py`."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.table import Table

from attention_jax.study.engine.cells import Cell, Result
from attention_jax.study.engine.mesh import placed
from attention_jax.study.search.space import Point
from attention_jax.study.statistics.measures import higher_is_better
from attention_jax.study.sweep.plan import result_of
from attention_jax.study.sweep.source import SweepSource
from attention_jax.training.run.workdir import read_lines, write_atomically


def validation_score(workdir: Path, metric: str) -> Callable[[Cell, Result], float | None]:
    """Returns what says the value of a cell: its metric on the validation split, where its own score was measured.

    That is after its last step, or where `checkpoint.best` is set, at its best evaluation. The test split is not read.

    Args:
      workdir: of the sweep.
      metric: such as "accuracy".
    """

    def value(cell: Cell, result: Result) -> float | None:
        name, step = f"validation_{metric}", result.outcome.get("score_step")
        lines = read_lines(cell.folder(workdir) / "metrics.jsonl")
        found = [float(line[name]) for line in lines if name in line and line["step"] == step]
        return found[-1] if found else None

    return value


@dataclass(frozen=True)
class Finalist:
    """One of the best trials, run again.

    Attributes:
      trial: the trial.
      point: the keys that it set.
      values: fresh seed -> value on the validation split, of those that ran to their end.
      tests: fresh seed -> the metric of those runs on the test split, where there is one; it decides nothing.
      asked: how many seeds there are.
    """

    trial: FrozenTrial
    point: Point
    values: Mapping[int, float]
    tests: Mapping[int, float]
    asked: int

    @property
    def mean(self) -> float:
        """The mean over the fresh seeds; NaN unless every one ran to its end."""
        return statistics.fmean(self.values.values()) if self.is_whole else math.nan

    @property
    def is_whole(self) -> bool:
        """Whether it ran to its end on every fresh seed, and there is one."""
        return 0 < self.asked == len(self.values)


@dataclass(frozen=True)
class Found:
    """The end of a sweep.

    Attributes:
      metric: what decides, such as "validation_accuracy".
      where: at which step of a run it is taken, in words.
      trials: every trial, in its order.
      points: the keys that each trial set, by its number.
      finalists: the best first: by the mean of their fresh seeds where they have one.
    """

    metric: str
    where: str
    trials: Sequence[FrozenTrial]
    points: Mapping[int, Point]
    finalists: Sequence[Finalist]

    @property
    def best(self) -> Finalist | None:
        """The trial that is taken; None where none ran to its end."""
        return self.finalists[0] if self.finalists else None


def found(source: SweepSource) -> Found:
    """Returns what a sweep found so far."""
    task, sections = source.sweep.base.task, source.sweep.base.config()
    sign = -1 if higher_is_better(task.metric) else 1
    finalists = []
    asked = len(source.sweep.seeds) if source.sweep.best else 0
    for trial in source.finalists(max(1, source.sweep.best)):
        runs = {seed: run for (number, seed), run in source.finals.items() if number == trial.number}
        values = {seed: value for seed, (value, _) in runs.items() if value is not None and math.isfinite(value)}
        tested = {seed: run.outcome for seed, (_, run) in runs.items() if "test" in str(run.outcome.get("metric"))}
        tests = {seed: float(outcome["score"]) for seed, outcome in tested.items()}
        finalists.append(Finalist(trial, source.point(trial), values, tests, asked))
    # Those of which a fresh seed failed come last; a single value says less than a mean.
    finalists.sort(key=lambda one: (math.isnan(one.mean), sign * (0 if math.isnan(one.mean) else one.mean)))
    trials = source.study.get_trials(deepcopy=False)
    return Found(
        metric=source.sweep.metric,
        where="at the best evaluation of a run" if sections["checkpoint"]["best"] else "after the last step of a run",
        trials=trials,
        points={trial.number: source.point(trial) for trial in trials if trial.params},
        finalists=finalists,
    )


def best_config(best: Finalist, sections: Mapping[str, Any], *, end: Found, command: str, path: Path) -> str:
    """Returns the text of `best.py`, a config file that `launch.py train` takes.

    Args:
      best: the trial.
      sections: its whole config, with the mesh that it was trained on: on another, sums differ in their last bits.
      end: what it was chosen from.
      command: that of the sweep.
      path: where the file will be.
    """
    seed = min(best.values, default=sections["seed"])
    sections = {**sections, "seed": seed}
    return f'''"""{_score(best, end)}

Command: python launch.py train --config={path}
Found by: {command}
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the experiment."""
    return ConfigDict(
        {_source(sections, " " * 8)}
    )
'''


def write_best(source: SweepSource, end: Found, workdir: Path, *, command: str, devices: int = 1) -> Path | None:
    """Writes `best.py` into the folder of a sweep and returns its path; None where no trial ran to its end.

    Args:
      source: of the cells.
      end: what the sweep found.
      workdir: its folder.
      command: what the user typed.
      devices: how many a trial had.
    """
    if end.best is None:
        return None
    path = workdir / "best.py"
    sections = placed(source.sweep.base.config(end.best.point), devices)
    write_atomically(path, best_config(end.best, sections, end=end, command=command, path=path))
    return path


def table(end: Found) -> Table:
    """Returns the table of the best trials for the terminal."""
    made = Table(title=f"{end.metric} {end.where}", title_justify="left", box=None, pad_edge=False)
    made.add_column("trial", justify="right")
    for key in keys(end):
        made.add_column(key.rpartition(".")[2], overflow="fold")
    for name in ("in the search", "fresh seeds", "each"):
        made.add_column(name, justify="right")
    for one in end.finalists:
        cells = [shown(one.point.get(key, "")) for key in keys(end)]
        made.add_row(str(one.trial.number), *cells, number(one.trial.value), mean(one), each(one))
    return made


def summary(end: Found) -> str:
    """Returns one line on how many trials ended how."""
    counts: dict[str, int] = {}
    for trial in end.trials:
        status = result_of(trial).get("status", "not run")
        counts[status] = counts.get(status, 0) + 1
    return f"{len(end.trials)} trials: {', '.join(f'{count} {status}' for status, count in counts.items())}"


def keys(end: Found) -> list[str]:
    """Returns the keys that some trial set."""
    return list(dict.fromkeys(key for point in end.points.values() for key in point))


def shown(value: Any) -> str:
    """Returns a value as a table shows it."""
    return number(value) if isinstance(value, float) else str(value)


def number(value: float | None) -> str:
    """Returns a number with four digits, a dash for none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def mean(one: Finalist) -> str:
    """Returns the mean over the fresh seeds with their standard deviation."""
    if math.isnan(one.mean):
        return f"{len(one.values)} of {one.asked} ran" if one.asked else "-"
    return spread(list(one.values.values()))


def spread(values: Sequence[float]) -> str:
    """Returns the mean of values with their standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{deviation}"


def each(one: Finalist) -> str:
    """Returns the value of each fresh seed."""
    return " ".join(number(value) for _, value in sorted(one.values.items())) or "-"


def _source(value: Any, indent: str) -> str:
    """A config as Python, one key a line."""
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    lines = (f'{indent}    "{key}": {_source(part, indent + "    ")},\n' for key, part in value.items())
    return f"{{\n{''.join(lines)}{indent}}}"


def _score(best: Finalist, end: Found) -> str:
    if math.isnan(best.mean):
        return (
            f"Trial {best.trial.number} of a sweep: {end.metric} {number(best.trial.value)} on the seed of the search."
        )
    seeds = ", ".join(map(str, sorted(best.values)))
    tested = f"; on the test split {spread(list(best.tests.values()))}" if best.tests else ""
    return f"Trial {best.trial.number} of a sweep: {end.metric} {mean(best)} on the fresh seeds {seeds}{tested}."
