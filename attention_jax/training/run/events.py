"""TensorBoard events, written by the caller's thread: what goes wrong with the file is raised where it happens.

tensorboardX's SummaryWriter writes in a thread that a full disk ends, and waits for it ever after.
"""

import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

_SECONDS_BETWEEN_FLUSHES = 30.0


class EventFile:
    """The scalars of a run from one step on, in a file of their own."""

    def __init__(self, folder: Path, *, after_step: int):
        """Opens a file, making the folder if need be; TensorBoard drops what older files have after that step.

        Raises:
          OSError: it cannot be written.
        """
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=after_step + 1, session_log=start))
        self._writer.flush()
        self._flushed = time.monotonic()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes values at a step; they are on the disk within half a minute of the next write.

        Raises:
          OSError: the file cannot be written.
        """
        for name, value in values.items():
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Closes the file; raises OSError as `write` does."""
        self._writer.close()
