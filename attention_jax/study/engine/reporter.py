"""What a run in a worker is told to tell: lines go to its log, what it measures to the supervisor as events."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# Between two events of one kind.
_EVENT_SECONDS = 0.5
Event = dict[str, Any]


class Pruned(Exception):
    """The source of a cell does not want it to go on."""


class Reporter:
    """What a run is told to tell, in place of `training.Progress`: lines go to the log, the rest are events.

    Attributes:
      metric: the measure that `wants` is asked with; None takes the first of an evaluation.
      step: the last step that was begun or recorded.
      count: grows with everything that is heard: a run whose count stands still is stuck.
      last: what the evaluation that pruned the cell gave.
    """

    def __init__(self, send: Callable[[Event], None], wanted: Callable[[], bool] | None, log: TextIO):
        """Begins a cell.

        Args:
          send: takes each event.
          wanted: waits for the answer to the evaluation that was sent last; None where nobody prunes.
          log: where lines go.
        """
        self.metric: str | None = None
        self.step, self.count = 0, 0
        self.last: dict[str, Any] = {}
        self._send, self._wanted, self._log = send, wanted, log
        self._sent, self._sent_count = -math.inf, 0

    def say(self, message: str) -> None:
        """Prints a line to the log, and tells it."""
        self.note(message)
        self._send({"event": "said", "line": message})

    def note(self, message: str) -> None:
        """Prints a line to the log."""
        print(message, file=self._log, flush=True)

    def clear(self) -> None:
        """Does nothing: a log has no line that renews itself."""

    def alive(self, step: int) -> None:
        """Hears that a step begins, or a batch of an evaluation after it."""
        self.step = step
        self.count += 1

    def update(self, *, step: int, steps: int, rate: float, values: dict[str, float], beside: str = "") -> None:
        """Tells where the run is: `rate` is in steps a second."""
        self.alive(step)
        now = time.monotonic()
        if now - self._sent >= _EVENT_SECONDS or step == steps:
            self._sent = now
            self._send({"event": "step", "step": step, "steps": steps, "rate": rate, "values": _finite(values)})

    def measured(self, step: int, measures: dict[str, float]) -> None:
        """Tells the measures of an evaluation.

        Raises:
          Pruned: the cell is not wanted any more.
        """
        self.alive(step)
        metric = self.metric or next(iter(measures))
        if metric not in measures:
            return
        self._send({"event": "metric", "step": step, "metric": metric, "value": measures[metric]})
        if self._wanted is not None and not self._wanted():
            self.last = {"metric": metric, "score": measures[metric], "steps": step}
            raise Pruned

    def beat(self) -> None:
        """Tells that the run is not stuck, where it has done something since the last time."""
        if self.count != self._sent_count:
            self._sent_count = self.count
            self._send({"event": "alive", "step": self.step})


@contextmanager
def beating(reporter: Reporter) -> Iterator[None]:
    """Tells every second whether the run within has gone on."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1.0):
            reporter.beat()

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
