"""SIGTERM and Ctrl-C while training: noted, acted on between two steps. A second one stops at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal after it saved where it was.

    Attributes:
      signum: the signal's number.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class Notice:
    """Whether a signal has come: its number, or None."""

    signum: int | None = None


@contextmanager
def noticed() -> Iterator[Notice]:
    """Within the context SIGTERM and SIGINT set the notice; the second of them raises KeyboardInterrupt."""
    notice = Notice()

    def note(signum: int, frame: FrameType | None) -> None:
        if notice.signum is not None:
            raise KeyboardInterrupt
        notice.signum = signum

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
