"""SIGTERM and Ctrl-C while training: noted, acted on between two steps. A second one stops at once."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from attention_jax.training.run.watch import SIGNALS, Pulse, Watcher


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal after it saved where it was.

    Attributes:
      signum: the signal's number.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class Stopped(KeyboardInterrupt):
    """A run was stopped by a second signal, and saved nothing; the message says where, and how to go on.

    A process that ends because of it does so by `os._exit`: JAX waits at Python's own exit for a step that is at work.

    Attributes:
      signum: the signal's number.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class Notice:
    """Whether a signal has come: its number, or None."""

    signum: int | None = None


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextmanager
def noticed(pulse: Pulse | None = None, say: Callable[[str], None] = _to_stderr) -> Iterator[Notice]:
    """Within the context SIGTERM and SIGINT set the notice; the second of them raises Stopped, a KeyboardInterrupt.

    Where the thread that trains does not come back from a step to raise it, the process ends all the same, with a line
    that says so and exit code 128 + N. To be entered by the main thread, which alone may set handlers.

    Args:
      pulse: where the thread that trains is: a step that is slow is said too.
      say: prints a line; another thread calls it.
    """
    pulse = pulse or Pulse()
    notice, watcher = Notice(), Watcher(pulse, say)

    def note(signum: int, frame: FrameType | None) -> None:
        watcher.heard = time.monotonic()
        # Two of one kind that come while a step is at work are one call.
        if notice.signum is not None or len(watcher.arrived) > 1:
            raise Stopped(pulse.stopped(), signum)
        notice.signum = signum

    before = {number: signal.signal(number, note) for number in SIGNALS}
    wakeup_before = signal.set_wakeup_fd(watcher.write, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield notice
    finally:
        signal.set_wakeup_fd(wakeup_before)
        watcher.end()
        for number, handler in before.items():
            signal.signal(number, handler)
