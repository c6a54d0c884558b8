"""The raw lines of `launch.py reproduce`: one for each run, appended when it ends, in a file for each row."""

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Result, Status, folder_name
from attention_jax.study.engine.compiler import versions
from attention_jax.study.report.environment import cpu
from attention_jax.training.run.workdir import read_lines

# Folder of the files of lines, in that of the results.
FOLDER = "reproduce"
_SPLITS = ("validation_", "test_")


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of one run.

    Attributes:
      row, entry, seed: what ran; `entry` is "" or "BENCHMARK / VARIANT".
      version: of the row.
      written: the SHA-256 of the config as its file had it.
      status, reason: of the cell's result.
      metric: what the outcome is measured by; None where there is none.
      scores: the measures of the splits at the step that the outcome is of.
      steps, parameters: of the outcome.
      train_seconds: the time of all steps, in seconds.
      seconds: wall time on the one core or device of a worker, in seconds, of a sweep that of all its trials by all
        workers; of a run that was stopped on its way at least that of its steps.
      commit: of the code, with "+changes" where files differ from it; shown, never compared.
      versions: package -> version.
      machine: `cpu`, `memory_gib` and `device`.
      config: the whole config.
      found: of a sweep, the keys that its best trial set.
    """

    row: str
    entry: str
    seed: int
    version: int
    written: str
    status: Status
    reason: str | None = None
    metric: str | None = None
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: int | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    seconds: float | None = None
    commit: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    config: Mapping[str, Any]
    found: Mapping[str, Any] | None = None

    def tells_of_the_same_run(self, other: "Line") -> bool:
        """Whether another line was written of this very run, before a stop."""
        return all(getattr(self, name) == getattr(other, name) for name in _OF_THE_RUN)


_OF_THE_RUN = ("row", "entry", "seed", "version", "written", "status", "reason", "scores", "steps", "train_seconds")


def line_of(result: Result, folder: Path, *, seconds: float, **what: Any) -> Line:
    """Returns the line of a result.

    Args:
      result: of the cell.
      folder: where it trained.
      seconds: the wall time since it was last begun.
      what: the fields from `row` to `written`, `config` and `found`.
    """
    outcome = result.outcome if result.status == "done" else {}
    trained = outcome.get("train_seconds")
    return Line(
        # As it will be read: JSON has no tuples.
        **json.loads(json.dumps(what)),
        status=result.status,
        reason=result.reason,
        metric=outcome.get("metric"),
        scores=_scores(outcome, folder),
        steps=outcome.get("steps"),
        parameters=outcome.get("parameters"),
        train_seconds=trained,
        seconds=round(max(seconds, trained or 0.0), 3),
        commit=commit(),
        versions=result.facts.get("versions", versions()),
        machine={"cpu": cpu(), "memory_gib": _memory(), "device": result.facts.get("device")},
    )


def path_of(results: Path, row: str) -> Path:
    """Returns the file of a row's lines in a folder of results."""
    return results / FOLDER / f"{folder_name(row)}.jsonl"


def read(results: Path, row: str) -> list[Line]:
    """Returns the lines of a row, in the order in which they were written; a last one that a kill cut is left out.

    Raises:
      Refused: another line is none.
    """
    path = path_of(results, row)
    whole, _ = _apart(path.read_bytes() if path.exists() else b"")
    return [_parsed(text, where=f"line {place} of {path}") for place, text in enumerate(whole, start=1)]


def append(results: Path, line: Line) -> None:
    """Adds a line to its row's file, in place of what a kill cut short."""
    path = path_of(results, line.row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        there = file.read()
        whole, cut = _apart(there)
        file.truncate(len(there) - len(cut))
        separator = b"" if not whole or there[: len(there) - len(cut)].endswith(b"\n") else b"\n"
        file.write(separator + json.dumps(dataclasses.asdict(line), allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _apart(there: bytes) -> tuple[list[bytes], bytes]:
    """Returns the whole lines of a file, and what follows them and is none."""
    *whole, last = there.split(b"\n")
    try:
        json.loads(last)
    except ValueError:
        return whole, last
    return [*whole, last], b""


@cache
def commit() -> str:
    """Returns the commit of the code, with "+changes" where a file but the docs differs; "none" outside a checkout."""
    root = Path(__file__).parents[3]
    # Results are written into docs while others run.
    found = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
    return f"{found}{'+changes' if changed else ''}" if found and (root / "launch.py").exists() else "none"


def latest(lines: Iterable[Line]) -> dict[tuple[str, int], Line]:
    """Returns the last line of each entry and seed."""
    return {(line.entry, line.seed): line for line in lines}


def _git(root: Path, *words: str) -> str:
    try:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _memory() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _scores(outcome: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Returns the measures at the step of the outcome: a row may be of another split than the outcome.

    Those of the best step that were taken at the end say so with "best_step".
    """
    if not outcome:
        return {}
    step = outcome.get("score_step")
    lines = [line for line in read_lines(folder / "metrics.jsonl") if line.get("best_step", line.get("step")) == step]
    found = {name: value for line in lines for name, value in line.items() if isinstance(value, float)}
    measured = {name: value for name, value in found.items() if name.startswith(_SPLITS)}
    return {**measured, outcome["metric"]: outcome["score"]}


def _parsed(text: bytes, *, where: str) -> Line:
    try:
        return Line(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise Refused(f"{where} is no result ({error}): delete it, and its run is made again.") from None
