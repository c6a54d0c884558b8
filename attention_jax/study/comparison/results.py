"""results.jsonl: one line per trial, the record that a killed comparison is continued from."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Trial
from attention_jax.study.engine.cells import COUNTS
from attention_jax.training.run.workdir import write_atomically

Status = Literal["done", "refused", "failed"]
# Of the facts of a cell's result.
OF_FACTS = ("versions", "device", "devices", "xla_level", *COUNTS, "log", "beside", "members")
# The attributes of an `Outcome` that a result has.
OF_OUTCOME = (
    *("metric", "score", "steps", "parameters", "train_seconds", "ms_per_step", "peak_bytes"),
    *("ms_per_step_spread", "tokens_per_second", "flops_per_step", "compile_seconds", "decode_bytes", "slices"),
)


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl.

    The fields that `OF_OUTCOME` names are those of `attention_jax.training.run.outcome.Outcome`, None when the trial
    was not finished; `reason` says why it was not, None when it was. Those after it are None in lines that were written
    before there were such: `versions` (package -> version) that it was computed with, `device`, how many `devices` it
    had, XLA's levels of optimisation where they are not its default, how many programs were compiled for it, came from
    the cache, and were there but could not be loaded, the path of its log, relative to the workdir, how many other
    workers of the study could train `beside` it, 0 where it was alone, and how many `members` were trained as one:
    times and memory are of all of them. `point` has the tuned keys with their values; it is None where nothing was
    tuned, and empty where no trial of the search ran to its end.
    """

    benchmark: str
    variant: str
    seed: int
    metric: str | None
    score: float | None
    steps: int | None
    parameters: int | None
    train_seconds: float | None
    ms_per_step: float | None
    peak_bytes: int | None
    status: Status
    reason: str | None
    versions: dict[str, str] | None = None
    device: str | None = None
    devices: int | None = None
    xla_level: str | None = None
    compilations: int | None = None
    cache_hits: int | None = None
    cache_refused: int | None = None
    log: str | None = None
    beside: int | None = None
    members: int | None = None
    ms_per_step_spread: float | None = None
    tokens_per_second: float | None = None
    flops_per_step: float | None = None
    compile_seconds: float | None = None
    decode_bytes: int | None = None
    slices: dict[str, float] | None = None
    point: dict[str, Any] | None = None

    @property
    def trial(self) -> Trial:
        """The trial that this is the result of."""
        return Trial(self.benchmark, self.variant, self.seed)


def unfinished(trial: Trial, *, status: Literal["refused", "failed"], reason: str) -> Result:
    """Returns the result of a `trial` that has no score."""
    return Result(
        benchmark=trial.benchmark,
        variant=trial.variant,
        seed=trial.seed,
        **dict.fromkeys(OF_OUTCOME),
        status=status,
        reason=reason,
    )


def read_results(path: Path) -> dict[Trial, Result]:
    """Reads results.jsonl; a missing file holds none.

    A last line that a kill cut short is dropped: its trial is missing and runs again.

    Raises:
      Refused: another line is not a result.
    """
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    results = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:  # not JSON, or not UTF-8
            if number == len(lines):
                break
            raise Refused(
                f"line {number} of {path} is not JSON ({error}): delete it, and its trial runs again."
            ) from None
        result = _parse(entry, where=f"line {number} of {path}")
        results[result.trial] = result
    return results


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Writes `results` in place of `path`, whole or not at all.

    Raises:
      ValueError: a number is not finite, which JSON cannot hold.
    """
    write_atomically(path, "".join(map(_line, results)))


def append_result(path: Path, result: Result) -> None:
    """Adds a line to `path`, which a kill may cut short.

    Raises:
      ValueError: a number is not finite, which JSON cannot hold.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(result))


def _line(result: Result) -> str:
    return json.dumps(dataclasses.asdict(result), allow_nan=False) + "\n"


def _parse(entry: object, *, where: str) -> Result:
    names = {field.name for field in dataclasses.fields(Result)}
    needed = [field.name for field in dataclasses.fields(Result) if field.default is dataclasses.MISSING]
    if not isinstance(entry, dict) or not names >= entry.keys() >= set(needed):
        raise Refused(f"{where} is not a result: it needs {', '.join(needed)}. Delete it, and its trial runs again.")
    if entry["status"] not in get_args(Status):
        raise Refused(
            f"{where} has the status {entry['status']!r}: there is {', '.join(get_args(Status))}. "
            "Delete it, and its trial runs again."
        )
    return Result(**entry)
