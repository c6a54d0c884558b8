"""What a long run says of itself: one line that renews itself on a terminal, plain lines in a log."""

import sys
import time
from typing import TextIO

from attention_jax.base.formatting import readable_seconds


class Progress:
    """Reports steps, rate and time left.

    Attributes:
      label: put before every line, such as the name of the run.
      brief: whether to leave out the lines that `note` would print.
    """

    def __init__(
        self, label: str = "", *, brief: bool = False, stream: TextIO | None = None, every_seconds: float = 10.0
    ):
        self.label = label
        self.brief = brief
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._every = 0.2 if self._terminal else every_seconds
        self._last = time.monotonic()
        self._drawn = 0

    def say(self, message: str) -> None:
        """Prints a line that stays."""
        self.clear()
        print(self._labelled(message), file=self._stream, flush=True)

    def note(self, message: str) -> None:
        """Prints a line that stays, unless the progress is brief."""
        if not self.brief:
            self.say(message)

    def update(self, *, step: int, steps: int, rate: float, values: dict[str, float], beside: str = "") -> None:
        """Shows where a run is, not more often than is readable.

        Args:
          step: updates done.
          steps: updates in all.
          rate: updates a second.
          values: what to show beside it, by name.
          beside: another rate, such as "12.3k tokens/s".
        """
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        left = readable_seconds((steps - step) / rate) if rate else "?"
        rates = "  ".join(filter(None, (f"{rate:.1f} steps/s", beside)))
        line = self._labelled(f"step {step}/{steps}  {shown}  {rates}  {left} left")
        if self._terminal:
            self.clear()
            self._stream.write(line)
            self._stream.flush()
            self._drawn = len(line)
        else:
            print(line, file=self._stream, flush=True)

    def alive(self, step: int) -> None:
        """Hears that a step begins, or a batch of an evaluation after it: for whoever has to tell slow from stuck."""

    def measured(self, step: int, measures: dict[str, float]) -> None:
        """Hears the measures of an evaluation after a step; what it raises ends the run."""

    def _labelled(self, message: str) -> str:
        return f"{self.label}: {message}" if self.label else message

    def clear(self) -> None:
        """Removes the line that renews itself, if there is one."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
            self._drawn = 0
