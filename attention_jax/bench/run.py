"""Runs the measures that were asked for, in turns, keeps every sample, and prints the table.

`samples.jsonl` in the folder has a line for each thing that was seen, of every run that was made there:

  {"kind": "environment", "run", "group", "process", "pid", "environment"}      a worker process
  {"kind": "agreement", "run", "group", "measure", "what", "peer", "difference"}
  {"kind": "sample", "run", "group", "measure", "what", "peer", "process", "shape", "round", "devices",
   "milliseconds" or "bytes", "calls"}
  {"kind": "left_out" or "failed", "run", "group", "measure", "what", "peer", "reason"}
"""

import functools
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.bench import measures, steps
from attention_jax.bench.cases import UNITS, Kind, LeftOut, Measured, Process
from attention_jax.bench.decodes import DECODE_MEASURES, DecodeSettings
from attention_jax.bench.group import Group, WorkerEnded
from attention_jax.bench.measures import Comparison, Measure, Settings, Told
from attention_jax.bench.steps import StepSettings
from attention_jax.bench.summary import (
    LARGEST_DIFFERENCE,
    WORDS,
    Row,
    difference,
    fastest,
    markdown,
    rows,
    times,
    together,
    tokens_apart,
)
from attention_jax.kernels.engines import ENGINES
from attention_jax.training import Progress
from attention_jax.training.run.workdir import write_atomically

OURS = "attention_jax"
AnySettings = Settings | StepSettings | DecodeSettings
MEASURES: dict[Kind, tuple[Measure, ...]] = {
    "attention": measures.MEASURES,
    "step": steps.STEP_MEASURES,
    "decode": DECODE_MEASURES,
}
TOGETHER: dict[Told, Callable[[Sequence[Row]], list[str]]] = {"mean": together, "fastest": fastest}
VERSIONS = ("jax", "flax", "tokamax", "torch", "transformers")
# Threads of one worker that still wait busily have stopped when the next one starts.
SETTLE_SECONDS = 0.01


class Disagreement(Exception):
    """A result is not what it must be; the message says by how much."""


class Record:
    """The lines of samples.jsonl, and what is told beneath the table.

    Attributes:
      machine: what is known of the machine and the versions, by name.
      failures: how many comparisons failed.
    """

    def __init__(self, path: Path):
        """Goes on with the file at `path`."""
        self._file = path.open("a")
        self._run = datetime.now(UTC).isoformat(timespec="seconds")
        self.machine: dict[str, Any] = {}
        self._reasons: dict[tuple[str, str], list[str]] = {}
        self.failures = 0

    def write(self, kind: str, **values: Any) -> None:
        """Adds a line."""
        self._file.write(json.dumps({"kind": kind, "run": self._run, **values}) + "\n")
        self._file.flush()

    def started(self, *, group: str, process: Process, pid: int, environment: dict[str, Any]) -> None:
        """Adds the line of a worker process."""
        self.write("environment", group=group, process=process, pid=pid, environment=environment)
        self.machine = {**self.machine, **environment}

    def left_out(self, reason: str, *, peer: str, what: str, kind: str, **where: str) -> None:
        """Adds a line that says why there is no figure."""
        self.write(kind, peer=peer, reason=reason, what=what, **where)
        self.failures += kind == "failed"
        self.remark(reason, peer=peer, what=what)

    def remark(self, reason: str, *, peer: str, what: str) -> None:
        """Keeps what is to be told beneath the table."""
        self._reasons.setdefault((peer, reason), []).append(what)

    def notes(self) -> list[str]:
        """Returns a line for each reason why something is not in the table."""
        return [
            f"- {peer}, {whats[0] if len(whats) == 1 else f'{len(whats)} lines'}: {reason}"
            for (peer, reason), whats in self._reasons.items()
        ]


def run_bench(settings: AnySettings, *, names: Sequence[str] | None, repeats: int, workdir: Path) -> int:
    """Runs measures and prints their table to stdout, their progress to stderr.

    Args:
      settings: the sizes, and how ours is computed; they say which bench it is.
      names: the measures by name, or None for all.
      repeats: rounds, in each of which every contestant gives one sample.
      workdir: where samples.jsonl, table.md and the logs of the workers go.

    Returns:
      How many comparisons failed: a result was wrong, or a process ended.

    Raises:
      Refused: a size, a name or the folder cannot be used.
    """
    chosen = _checked(settings, names=names, repeats=repeats)
    try:
        (workdir / "logs").mkdir(parents=True, exist_ok=True)
        record = Record(workdir / "samples.jsonl")
    except OSError as error:
        raise Refused(f"workdir {str(workdir)!r} cannot be used: {error.strerror}. Give another --workdir.") from error
    progress = Progress()
    lines: list[Row] = []
    means: list[str] = []
    for measure in chosen:
        found = _measured(
            measure, list(measure.build(settings)), record, progress, repeats=repeats, logs=workdir / "logs"
        )
        lines += found
        means += TOGETHER[measure.together](found) if measure.together else []
    text = _report(settings, lines, [*means, *record.notes()], record.machine, repeats=repeats)
    write_atomically(workdir / "table.md", text)
    print(text)
    print(f"every sample: {workdir / 'samples.jsonl'}\nthe table: {workdir / 'table.md'}")
    return record.failures


def print_measures(kind: Kind) -> None:
    """Prints the name of each measure of a bench and what it is."""
    for measure in MEASURES[kind]:
        print(f"{measure.name:<12} {measure.what}")


def _checked(settings: AnySettings, *, names: Sequence[str] | None, repeats: int) -> list[Measure]:
    for name, least in settings.smallest.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            raise Refused(f"--{name}={value} is too small: give at least {least}.")
    if repeats < 1:
        raise Refused(f"--repeats={repeats} leaves nothing to measure: give at least 1.")
    if isinstance(settings, Settings) and settings.engine is not None and settings.engine not in ENGINES:
        raise Refused(f"there is no engine {settings.engine!r}.{did_you_mean(settings.engine, ENGINES)}")
    chosen = MEASURES[settings.kind]
    by_name = {measure.name: measure for measure in chosen}
    for name in names or ():
        if name not in by_name:
            raise Refused(f"there is no measure {name!r}.{did_you_mean(name, by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)] if names else list(chosen)


def _measured(
    measure: Measure,
    comparisons: list[Comparison],
    record: Record,
    progress: Progress,
    *,
    repeats: int,
    logs: Path,
) -> list[Row]:
    """Returns the lines of one measure, whose workers stay alive until it ends, or one of them does."""
    lines: list[Row] = []
    waiting = list(enumerate(comparisons, start=1))
    started = 0
    while waiting:
        started += 1
        name = f"{measure.name}-{started}"
        with Group(name, logs=logs, started=functools.partial(record.started, group=name)) as group:
            ended = False
            while waiting and not ended:
                at, comparison = waiting.pop(0)
                progress.say(f"{measure.name} {at}/{len(comparisons)}: {comparison.what}")
                turn = _Turn(comparison, group, record, progress, measure=measure.name)
                try:
                    found = turn.take(repeats)
                    group.forget()
                except (WorkerEnded, Disagreement) as failure:
                    turn.left_out(str(failure), kind="failed")
                    ended, found = True, []
                lines += found
                for row in found:
                    progress.say(f"  {row.other}: {times(row.relative.median)} {WORDS[row.ratio]}")
    return lines


class _Turn:
    """One comparison: everything is prepared, the results are compared, and then each gives a sample in turn."""

    def __init__(self, comparison: Comparison, group: Group, record: Record, progress: Progress, *, measure: str):
        self._comparison = comparison
        self._cases = {OURS: comparison.ours, **comparison.peers}
        self._group = group
        self._record = record
        self._progress = progress
        self._where = {"group": group.name, "measure": measure, "what": comparison.what}

    def left_out(self, reason: str, *, peer: str = OURS, kind: str = "left_out") -> None:
        """Records why there is no figure."""
        self._record.left_out(reason, peer=peer, kind=kind, **self._where)

    def take(self, repeats: int) -> list[Row]:
        """Returns the lines of the comparison; none when ours cannot be measured, or there is nothing beside it.

        Raises:
          WorkerEnded: a process is gone.
          Disagreement: a result is wrong.
        """
        ready = {name: answer for name, case in self._cases.items() if (answer := self._prepared(name, case))}
        if OURS not in ready or (len(ready) == 1 and self._comparison.bound is None):
            return []
        differences = self._differences({name: answer["digest"] for name, answer in ready.items()})
        rounds = repeats if self._comparison.ratio != "bytes" else 1
        samples: dict[str, list[float]] = {name: [] for name in ready}
        start = time.monotonic()
        for number in range(rounds):
            for name in ready:
                samples[name].append(self._sample(name, number, ready[name]["about"]))
            rate = (number + 1) / (time.monotonic() - start)
            self._progress.update(step=number + 1, steps=rounds, rate=rate, values={})
        self._progress.clear()
        return rows(self._comparison, samples, differences)

    def _prepared(self, name: str, case: Measured) -> dict[str, Any] | None:
        try:
            return self._group.ask(case, "prepare")
        except LeftOut as reason:
            self.left_out(str(reason), peer=name)
            return None

    def _differences(self, digests: dict[str, list[list[float]]]) -> dict[str, float]:
        """Returns how far each peer's result is from ours, or ours from its reference for every peer."""
        ours = digests[OURS]
        if not ours:
            return {}
        peers = [name for name in digests if name != OURS and digests[name]]
        if self._comparison.tokens:
            return {name: self._apart(name, digests[name], ours) for name in peers}
        if self._comparison.reference is None:
            found = {name: difference(digests[name], ours) for name in peers}
        else:
            reference = self._prepared("its reference", self._comparison.reference)
            found = dict.fromkeys(peers, difference(ours, reference["digest"])) if reference else {}
        for name, value in found.items():
            self._record.write("agreement", peer=name, difference=value, **self._where)
            if not value <= LARGEST_DIFFERENCE:
                against = name if self._comparison.reference is None else "the dense engine"
                raise Disagreement(
                    f"the results differ: ours from that of {against} by {value:.1e} of its standard deviation, more "
                    f"than {LARGEST_DIFFERENCE:g}, so nothing was timed"
                )
        return found

    def _apart(self, name: str, tokens: list[list[float]], ours: list[list[float]]) -> float:
        """Returns which share of a peer's tokens are not ours; where that is not 0, it is told."""
        share, where = tokens_apart(tokens, ours)
        self._record.write("agreement", peer=name, difference=share, first=where, **self._where)
        if where:
            self._record.remark(where, peer=name, what=self._comparison.what)
        return share

    def _sample(self, name: str, number: int, about: dict[str, Any]) -> float:
        time.sleep(SETTLE_SECONDS)
        case = self._cases[name]
        answer = self._group.ask(case, "sample")
        value = answer.pop("value")
        told = {"peer": name, "process": case.process, "shape": case.shape, "round": number, **about}
        self._record.write("sample", **self._where, **told, **{UNITS[case.quantity]: value}, **answer)
        return value


def _report(
    settings: AnySettings,
    lines: Sequence[Row],
    notes: Sequence[str],
    machine: dict[str, Any],
    *,
    repeats: int,
) -> str:
    named = [f"{name} {machine[name]}" for name in ("cpu", "python", *VERSIONS) if name in machine]
    legend = (
        f"{', '.join(named)}. float32, {settings.sizes}. Medians of {repeats} rounds, in each of "
        "which ours and the others took their turns, with the lowest and the highest; a ratio is that of the samples "
        "of one round. The difference is the largest between the results, over their standard deviation."
    )
    return "\n".join([markdown(lines), legend, "", *notes]).rstrip() + "\n"
