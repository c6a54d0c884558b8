"""A worker process of a study: pinned to its cores, it trains the cells that it is handed and tells what happens.

Started by the supervisor as `python -m attention_jax.study.engine.worker`. A line of JSON on stdin is a job (see
`session.Session.work`) or the answer to an evaluation; events are lines of JSON on a pipe of their own, so that what a
user's code prints cannot be mistaken for one: stdout and stderr go to the log of the cell.

It ends with the supervisor, however that ended. At the first SIGTERM or SIGINT it saves the cell and ends with
128 + N. Nothing here may import JAX before the process is pinned: JAX makes its threads for the cores that it sees.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


class Pipe:
    """Where events go; two threads write to it."""

    def __init__(self, descriptor: int):
        self._file = os.fdopen(descriptor, "w", buffering=1)
        self._lock = threading.Lock()

    def send(self, event: dict[str, Any]) -> None:
        """Writes an event; nobody reads it any more once the supervisor has gone, and so has this process."""
        with self._lock:
            self._file.write(json.dumps(event) + "\n")


def main(arguments: list[str]) -> int:
    """Works until stdin ends, and returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True, help="the supervisor's process id")
    parser.add_argument("--events", type=int, required=True, help="file descriptor of the events' pipe")
    parser.add_argument("--cores", default="", help="cores to stay on, such as 0,1; none for any")
    options = parser.parse_args(arguments)
    _end_with(options.parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    if options.cores:
        os.sched_setaffinity(0, map(int, options.cores.split(",")))
    pipe = Pipe(options.events)
    pipe.send({"event": "ready"})
    # Only now: it may import JAX.
    from attention_jax.study.engine.session import Session

    session = Session(pipe.send, lambda: bool(json.loads(sys.stdin.readline() or "true")))
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        _log_to(Path(job["cells"][0]["log"]))
        try:
            events = session.work(job)
        except KeyboardInterrupt as stop:
            pipe.send({"event": "stopped"})
            return 128 + getattr(stop, "signum", signal.SIGINT)
        for event in events:
            pipe.send(event)
    return 0


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It has ended before that was asked for.
        os._exit(1)


def _leave(signum: int, frame: FrameType | None) -> None:
    """Ends at once where no cell is in training, which has its own handlers."""
    raise SystemExit(128 + signum)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
