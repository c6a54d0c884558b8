"""What a study shows while it runs: a line for each worker and a total on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from attention_jax.base.formatting import readable_seconds

_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class AtWork:
    """A worker at a cell.

    Attributes:
      worker: its number.
      cell: the cell's title.
      step, steps: updates done and in all; 0 before they are known.
      rate: updates a second; 0.0 before it is known.
    """

    worker: int
    cell: str
    step: int
    steps: int
    rate: float

    def __str__(self) -> str:
        if not self.step:
            return f"{self.cell}  starting"
        of = f"/{self.steps}" if self.steps else ""
        rate = f"  {self.rate:.1f} steps/s" if self.rate else ""
        return f"{self.cell}  step {self.step}{of}{rate}"


@dataclass(frozen=True)
class Standing:
    """Where a study is.

    Attributes:
      counts: how many cells have each status.
      cells: how many there are; None where the source does not know.
      workers: those at work.
      seconds_left: until the end, as foreseen; None where nothing is foreseen.
    """

    counts: dict[str, int]
    cells: int | None
    workers: Sequence[AtWork]
    seconds_left: float | None

    def total(self) -> str:
        """Returns one line."""
        counts = {"done": 0, **self.counts}
        done = f"{counts.pop('done')}{'' if self.cells is None else f' of {self.cells}'} done"
        others = [f"{number} {status}" for status, number in counts.items() if number]
        left = [] if self.seconds_left is None else [f"about {readable_seconds(self.seconds_left)} left"]
        return ", ".join([done, *others, *left])


class Display(Protocol):
    """Where a supervisor tells what happens."""

    def say(self, line: str) -> None:
        """Prints a line that stays."""

    def show(self, standing: Standing) -> None:
        """Shows where the study is, not more often than is readable."""

    def close(self) -> None:
        """Removes what renews itself."""


class Lines:
    """Plain lines, for a log; where the study is comes every half minute."""

    def __init__(self, announce: Callable[[str], None]):
        self.say = announce
        self._shown = time.monotonic()

    def show(self, standing: Standing) -> None:
        """Prints the total, and what each worker is at."""
        if time.monotonic() - self._shown < _LOG_SECONDS:
            return
        self._shown = time.monotonic()
        self.say("; ".join([standing.total(), *map(str, standing.workers)]))

    def close(self) -> None:
        """Does nothing."""


class Board:
    """Lines on a terminal that renew themselves, beneath those that stay."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._live.start()
        self._shown = 0.0

    def say(self, line: str) -> None:
        """Prints a line above the board."""
        self._live.console.print(line, markup=False)

    def show(self, standing: Standing) -> None:
        """Renews the board, five times a second at most."""
        if time.monotonic() - self._shown < 0.2:
            return
        self._shown = time.monotonic()
        rows = [Text(f"worker {at.worker}  {at}", no_wrap=True, overflow="ellipsis") for at in standing.workers]
        self._live.update(Group(*rows, Text(standing.total(), style="bold", no_wrap=True)), refresh=True)

    def close(self) -> None:
        """Removes the board."""
        self._live.stop()


def display() -> Display:
    """Returns a board where stderr is a terminal, and plain lines to it where not."""
    if sys.stderr.isatty():
        return Board()
    return Lines(lambda line: print(line, file=sys.stderr, flush=True))
