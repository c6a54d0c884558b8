"""Where the rows of `launch.py reproduce` stand: which lines count, and whether their score is as expected."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from attention_jax.study.report.numbers import number
from attention_jax.study.report.tables import score_text
from attention_jax.study.reproduction.declaration import Expected
from attention_jax.study.reproduction.lines import Line, latest
from attention_jax.study.reproduction.rows import Entry, Row
from attention_jax.study.statistics.intervals import Estimate, estimate
from attention_jax.study.statistics.measures import bounds, higher_is_better
from attention_jax.training.run.workdir import PLACEMENT

State = Literal["not run yet", "stale", "failed", "measured", "reproduced", "not reproduced"]


@dataclass(frozen=True)
class Standing:
    """What is known of an entry of a row.

    Attributes:
      row, entry: whose.
      runs: the last line of each seed that counts and has a score.
      failed: the last line of each seed that counts and has none.
      stale: the last line of each seed that was of another config or version, where none counts.
      left: the declared seeds without a score.
    """

    row: Row
    entry: Entry
    runs: Mapping[int, Line]
    failed: Mapping[int, Line]
    stale: Mapping[int, Line]
    left: tuple[int, ...]

    @property
    def name(self) -> str:
        """The row's name, with the entry's."""
        return " / ".join((self.row.name, *self.entry.parts))

    @property
    def metric(self) -> str | None:
        """What is the score; None where nothing was declared or measured."""
        measured = [line.metric for line in self.runs.values()]
        return self.row.declared.metric or (measured[-1] if measured else None)

    @property
    def scores(self) -> dict[int, float]:
        """The score of each seed."""
        return {seed: _score(self.row, line) for seed, line in sorted(self.runs.items())}

    @property
    def measured(self) -> Estimate | None:
        """The mean over the seeds with its interval; None before the first."""
        return estimate(list(self.scores.values()), within=bounds(self.metric or "")) if self.runs else None

    def measured_by(self, metric: str) -> Estimate | None:
        """Returns the mean of another measure over the runs that have it; None where none has."""
        values = [line.scores[metric] for _, line in sorted(self.runs.items()) if metric in line.scores]
        return estimate(values, within=bounds(metric)) if values else None

    @property
    def expected(self) -> Expected | None:
        """The score that is declared."""
        return self.row.expected(self.entry)

    @property
    def state(self) -> State:
        """Whether it ran, and gave what is expected."""
        if self.measured is None:
            return "failed" if self.failed else "stale" if self.stale else "not run yet"
        if self.expected is None:
            return "measured"
        off = abs(self.measured.mean - self.expected.value)
        return "reproduced" if off <= self.expected.tolerance else "not reproduced"

    @property
    def seconds(self) -> float | None:
        """The mean wall time of a run, in seconds."""
        times = [line.seconds for line in self.runs.values() if line.seconds is not None]
        return fmean(times) if times else None

    def bar(self) -> str | None:
        """Returns the bar and whether the mean reaches it; None where no bar is set."""
        bar = self.row.declared.bar
        if bar is None or self.measured is None:
            return None if bar is None else number(bar)
        rising = higher_is_better(self.metric or "")
        reached = self.measured.mean >= bar if rising else self.measured.mean <= bar
        return f"{number(bar)}: {'reached' if reached else 'missed'}"

    def verdict(self) -> str:
        """Returns in a line what came out, and whether it is what was expected."""
        if self.measured is None:
            return f"{self.name}: {self.state}{self.why()}"
        said = f"{self.metric} {score_text(self.measured)} ({_seeds(len(self.runs), self.left)})"
        wanted = (
            "no score is declared"
            if self.expected is None
            else f"expected {number(self.expected.value)} within {number(self.expected.tolerance)}"
        )
        bar = self.bar()
        state = "NOT reproduced" if self.state == "not reproduced" else self.state
        return f"{self.name}: {state}: {said}, {wanted}{f', bar {bar}' if bar else ''}{self.why()}"

    def why(self) -> str:
        """Returns what became of the seeds without a score, behind a semicolon; "" where none failed."""
        failed = [f"seed {seed} {_reason(self.row, line)}" for seed, line in sorted(self.failed.items())]
        return f"; {'; '.join(failed)}" if failed else ""


def standings(row: Row, lines: Iterable[Line]) -> list[Standing]:
    """Returns where each entry of a row stands by its lines, the later of two of one run counting."""
    lines = list(lines)
    return [_standing(row, entry, [line for line in lines if line.entry == entry.label]) for entry in row.entries]


def _standing(row: Row, entry: Entry, lines: Sequence[Line]) -> Standing:
    counts = {seed: line for (_, seed), line in latest(line for line in lines if is_current(row, entry, line)).items()}
    runs = {seed: line for seed, line in counts.items() if _has_score(row, line)}
    others = {seed: line for (_, seed), line in latest(lines).items() if seed not in counts}
    return Standing(
        row,
        entry,
        runs=runs,
        failed={seed: line for seed, line in counts.items() if seed not in runs},
        stale=others,
        left=tuple(seed for seed in row.seeds if seed not in runs),
    )


def is_current(row: Row, entry: Entry, line: Line) -> bool:
    """Returns whether a line is of the row as it is now: of its version, its file's config and the defaults of today.

    A key that the code has gained since, or lost, makes no line stale: the file does not set it, and who changes what
    a config computes raises the version.
    """
    if (line.version, line.written) != (row.declared.version, entry.written):
        return False
    return _agree(line.config, json.loads(json.dumps(entry.config_of(line.seed))))


def _agree(there: Any, here: Any) -> bool:
    if not (isinstance(there, Mapping) and isinstance(here, Mapping)):
        return bool(there == here)
    return all(_agree(there[key], here[key]) for key in there.keys() & here.keys() if key not in PLACEMENT)


def _has_score(row: Row, line: Line) -> bool:
    return line.status == "done" and (row.declared.metric or line.metric) in line.scores


def _reason(row: Row, line: Line) -> str:
    if line.status != "done":
        return f"{line.status}: {line.reason}"
    return f"has no measure {row.declared.metric!r}, but {', '.join(line.scores)}"


def _score(row: Row, line: Line) -> float:
    return line.scores[row.declared.metric or line.metric or ""]


def _seeds(count: int, left: Sequence[int]) -> str:
    said = f"{count} seed{'s' if count != 1 else ''}"
    return f"{said} of {count + len(left)}" if left else said
