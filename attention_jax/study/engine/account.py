"""What a supervisor knows of where its study is, and how it says so: lines, the board, and the file for `status`."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attention_jax.base.formatting import readable_seconds
from attention_jax.study.engine.cells import Cell, Result
from attention_jax.study.engine.crew import Worker
from attention_jax.study.engine.display import AtWork, Display, Standing

STATUS_FILE = "status.json"
# A file that is so old is of a study that does not run.
STATUS_SECONDS = 1.0


class Account:
    """The cells of a study in the order that they were asked for, with their results.

    Attributes:
      results: by the cell's name.
    """

    def __init__(self, workdir: Path, display: Display, *, whole: bool, workers: int, planned: int = 0):
        """Begins without a cell.

        Args:
          workdir: the folder of the study.
          display: where lines go.
          whole: whether every cell is known from the start, so that there is a total.
          workers: how many cells are trained at once.
          planned: how many cells there will be at most, where not every one is known.
        """
        self.results: dict[str, Result] = {}
        self.display = display
        self._workdir, self._whole, self._workers, self._planned = workdir, whole, workers, planned
        self._places: dict[str, int] = {}
        self._foreseen: list[float] = []
        self._seconds: list[float] = []
        self._told = 0.0

    def admit(self, cell: Cell) -> None:
        """Takes a cell that was asked for."""
        self._places[cell.name] = len(self._places) + 1

    def say(self, cell: Cell, news: str) -> None:
        """Prints news of a cell, with its place."""
        total = f"/{len(self._places)}" if self._whole else ""
        self.display.say(f"[{self._places[cell.name]}{total}] {cell.title}: {news}")

    def foresee(self, outcome: Mapping[str, Any]) -> None:
        """Takes how long the steps of a run are, of which a few were tried."""
        self._foreseen.append(outcome.get("ms_per_step", 0.0) * outcome.get("steps", 0) / 1000)

    def say_tried(self, what: str) -> None:
        """Prints that what was to be tried, such as "every configuration", was."""
        left = self.seconds_left()
        said = f"; about {readable_seconds(left)} of training foreseen" if left else ""
        self.display.say(f"{what} was tried for a step, {len(self._foreseen)} can run{said}")

    def finish(self, cell: Cell, result: Result, *, seconds: float) -> None:
        """Takes a result that came now, after some seconds of work, and prints it."""
        self.results[cell.name] = result
        if result.status == "done":
            self._seconds.append(seconds)
            left = self.seconds_left()
            after = "" if left is None else f", about {readable_seconds(left)} left"
            outcome = result.outcome
            self.say(cell, f"{outcome['metric']} {outcome['score']:.4g} in {readable_seconds(seconds)}{after}")
        else:
            log = f" (log: {self._workdir / result.facts['log']})" if result.status == "failed" else ""
            self.say(cell, f"{result.status}: {result.reason}{log}")

    def seconds_left(self) -> float | None:
        """The time that the cells that are left take; None where there are none, more may come, or none is known."""
        left = max(len(self._places), self._planned) - len(self.results)
        times = self._seconds or self._foreseen
        if not left or not times or not (self._whole or self._planned):
            return None
        return left * sum(times) / len(times) / max(1, min(self._workers, left))

    def show(self, crew: Iterable[Worker], *, ended: bool = False) -> None:
        """Shows where the study is, on the display and in the file."""
        now = time.monotonic()
        tasks = [(worker.number, worker.task) for worker in crew if worker.task is not None]
        at_work = [AtWork(number, task.title, task.step, task.steps, task.rate) for number, task in tasks]
        counts = Counter[str](result.status for result in self.results.values())
        standing = Standing(dict(counts), len(self._places) if self._whole else None, at_work, self.seconds_left())
        if not ended:
            self.display.show(standing)
        if ended or now - self._told > STATUS_SECONDS:
            self._told = now
            write_status(self._workdir, standing, ended=ended)


def write_status(workdir: Path, standing: Standing, *, ended: bool) -> None:
    """Writes where a study is for `launch.py status`; a disk that is full is not the study's end."""
    path = workdir / STATUS_FILE
    told = {**asdict(standing), "time": time.time(), "pid": os.getpid(), "ended": ended}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        temporary.write_text(json.dumps(told) + "\n")
        temporary.replace(path)
