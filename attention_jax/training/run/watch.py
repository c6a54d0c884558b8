"""A thread beside the one that trains: it says that a step is slow, and ends a run whose step never returns.

Python runs a signal's handler in the main thread, between two of its instructions; a thread that waits in C++ for a
step comes to none. The signal itself, as it arrives, is a byte in a pipe, which this thread reads.
"""

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from statistics import median

from attention_jax.base.formatting import readable_seconds

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A step is slow when it takes this many times the median of those before it, and at least so many seconds; the first
# one, which has none before it, when it takes so many.
SLOW_FACTOR, SLOW_SECONDS, SLOW_FIRST_SECONDS = 20, 10.0, 120.0
# After the first signal, how long a step may take to return before it is said what a second one does.
HINT_SECONDS = 5.0
# After the second signal, how long the main thread may take to act on it, and then to close its files.
GRACE_SECONDS, CLOSING_SECONDS = 2.0, 10.0
# Between two looks at the step.
LOOK_SECONDS = 0.5
# A handler that runs so shortly before this thread has read the signal's byte was that signal's.
_SAME_MOMENT = 0.05
# Steps that the median is of.
_REMEMBERED = 100


class Pulse:
    """Where the thread that trains is, written by it and read by the one that watches.

    Attributes:
      step: the number of the step that was begun last.
      began: when, by time.monotonic(); None when no step is at work.
      saved: the step of the last checkpoint; less than 0 where there is none.
    """

    def __init__(self, *, one_at_a_time: bool = True):
        """Begins before the first step.

        Args:
          one_at_a_time: whether a step has ended when the next one begins, and is not queued behind it.
        """
        self.step, self.saved = 0, -1
        self.began: float | None = None
        self._one_at_a_time = one_at_a_time
        self._rested_at, self._queued = 0.0, 0
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def begin(self, step: int) -> None:
        """Tells that a step begins."""
        now = time.monotonic()
        if self.began is None:
            self._rested_at, self._queued = now, 0
        elif self._one_at_a_time:
            self._seconds.append(now - self.began)
        self._queued += 1
        self.step, self.began = step, now

    @property
    def knows_none(self) -> bool:
        """Whether no step has returned yet."""
        return not self._seconds

    def rest(self) -> None:
        """Tells that every step that was begun has returned."""
        now = time.monotonic()
        if self.began is None:
            return
        if self._one_at_a_time:
            self._seconds.append(now - self.began)
        else:
            self._seconds.append((now - self._rested_at) / self._queued)
        self.began = None

    def describe(self) -> str:
        """Returns what the thread does, for a message."""
        if self.began is not None:
            return f"step {self.step}"
        return f"what comes after step {self.step}" if self.step else "what comes before the first step"

    def stopped(self) -> str:
        """Returns what a second signal leaves, for a message."""
        if self.saved < 0:
            left = "nothing was saved: there is no checkpoint, and the same command begins anew"
        else:
            left = f"nothing was saved after step {self.saved}: the same command goes on from the last checkpoint"
        return f"stopped by a second signal: {self.describe()} did not return, and {left}"

    def slowness(self) -> str | None:
        """Returns what is slow about the step at work; None where nothing is."""
        began = self.began
        if began is None:
            return None
        taken = time.monotonic() - began
        if self.knows_none:
            if taken <= SLOW_FIRST_SECONDS:
                return None
            return f"{readable_seconds(taken)} so far, and none has returned yet"
        typical = median(tuple(self._seconds))
        before_it = 0 if self._one_at_a_time else self._queued - 1
        if taken <= before_it * typical + max(SLOW_FACTOR * typical, SLOW_SECONDS):
            return None
        return f"{readable_seconds(taken)} so far, and the median of those before it is {typical:.3g} s"


class Watcher(threading.Thread):
    """Reads the signals as they arrive, and looks at the pulse."""

    def __init__(self, pulse: Pulse, say: Callable[[str], None]):
        super().__init__(name="watcher of signals and steps", daemon=True)
        self._pulse, self._told = pulse, say
        self._read, self.write = os.pipe()
        # The handler in C may not wait.
        os.set_blocking(self.write, False)
        # When the main thread last ran a handler.
        self.heard = -1.0
        # What arrived: number and time.
        self.arrived: list[tuple[int, float]] = []
        self._step_at_signal = -1
        self._said_slow, self._said_hint = -1, False
        self._ended = threading.Event()

    def run(self) -> None:
        """Watches until `end`."""
        while not self._ended.is_set():
            readable, _, _ = select.select([self._read], [], [], LOOK_SECONDS)
            if readable:
                self._take(os.read(self._read, 64))
            self._look_at_signals()
            self._look_at_step()

    def end(self) -> None:
        """Ends the watch; the signals must have another way to go by then."""
        self._ended.set()
        os.write(self.write, b"\0")
        self.join(timeout=1)
        # It may be held up by the reader of what it says; it is not to find another file in the pipe's place.
        if not self.is_alive():
            os.close(self._read)
            os.close(self.write)

    def _say(self, message: str) -> None:
        # A run is ended, and watched on, whether or not there is someone to tell.
        with suppress(OSError, ValueError):
            self._told(message)

    def _take(self, numbers: bytes) -> None:
        for number in numbers:
            if number in SIGNALS:
                if not self.arrived:
                    self._step_at_signal = self._pulse.step
                self.arrived.append((number, time.monotonic()))

    def _look_at_signals(self) -> None:
        if not self.arrived or self._ended.is_set():
            return
        number, arrived = self.arrived[-1]
        waited, unheard = time.monotonic() - arrived, self.heard < arrived - _SAME_MOMENT
        # A handler that was called stops the run, unless what must be closed then waits too.
        if len(self.arrived) > 1 and waited >= (GRACE_SECONDS if unheard else CLOSING_SECONDS):
            self._say(self._pulse.stopped())
            os._exit(128 + number)
        at_work = self._pulse.began is not None and self._pulse.step == self._step_at_signal
        if len(self.arrived) == 1 and (unheard or at_work) and waited >= HINT_SECONDS and not self._said_hint:
            self._said_hint = True
            self._say(
                f"a signal has come, and the run is saved and stopped once {self._pulse.describe()} returns; "
                "a second signal ends it without saving"
            )

    def _look_at_step(self) -> None:
        step, slowness = self._pulse.step, self._pulse.slowness()
        if slowness is not None and step != self._said_slow and not self._ended.is_set():
            self._said_slow = step
            self._say(f"step {step} is slow: {slowness}")
