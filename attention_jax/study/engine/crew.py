"""The workers of a supervisor, as it sees them: what each is at, and how it is spoken to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from attention_jax.study.engine.cells import Cell
from attention_jax.study.engine.places import Machine, worker_environment
from attention_jax.study.engine.reporter import Event
from attention_jax.study.engine.session import Session

_ROOT = Path(__file__).resolve().parents[3]
# As many as a session remembers.
_PROGRAMS = 8
_STEPS = 100  # that the median is of
# A run is stuck after so many times its median step without a sign of life.
STUCK_FACTOR = 20
# It is given so many times the least patience until its first step: it compiles.
START_FACTOR = 10


@dataclass
class Task:
    """What a worker is at.

    Attributes:
      cells: the cells, of one program; several train as members.
      do: "train", or "try" whether it can be.
      began, heard: when it was handed out, and when the worker last gave a sign of life, by time.monotonic().
      step, steps: updates done, and in all; 0 before they are known.
      rate: updates a second; 0.0 before it is known.
    """

    cells: tuple[Cell, ...]
    do: Literal["train", "try"]
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    step: int = 0
    steps: int = 0
    rate: float = 0.0
    _ended: set[str] = field(default_factory=set)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS))

    @property
    def left(self) -> list[Cell]:
        """The cells that have not ended."""
        return [cell for cell in self.cells if cell.name not in self._ended]

    @property
    def title(self) -> str:
        """How a line names it."""
        more = len(self.cells) - 1
        return f"{self.cells[0].title} and {more} more" if more else self.cells[0].title

    def end(self, cell: Cell) -> None:
        """Hears that a cell has ended."""
        self._ended.add(cell.name)

    def hear(self, event: Event) -> None:
        """Takes a sign of life."""
        self.heard = time.monotonic()
        self.step = max(self.step, event.get("step", 0))
        if event["event"] == "step":
            self.steps, self.rate = event["steps"], event["rate"]
            if self.rate > 0:
                self._seconds.append(1 / self.rate)

    def stuck(self, least: float) -> bool:
        """Returns whether it is silent for too long: `least` seconds, and more where its steps are slow."""
        typical = median(self._seconds) if self._seconds else 0.0
        patience = max(STUCK_FACTOR * typical, least if self.step else START_FACTOR * least)
        return time.monotonic() - self.heard > patience


class Worker:
    """What supervisors know of any worker: its number, its task, the programs that it has in memory."""

    def __init__(self, number: int):
        self.number = number
        self.task: Task | None = None
        self.programs: OrderedDict[str, None] = OrderedDict()

    def begin(self, task: Task, job: dict[str, Any]) -> None:
        """Hands out a task."""
        self.task = task
        program = task.cells[0].program
        self.programs[program] = None
        self.programs.move_to_end(program)
        if len(self.programs) > _PROGRAMS:
            self.programs.popitem(last=False)
        self._hand(job)

    def answer(self, wanted: bool) -> None:
        """Answers an evaluation: whether the cell is to go on."""
        raise NotImplementedError

    def _hand(self, job: dict[str, Any]) -> None:
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether it can be handed a task."""
        return self.task is None


class InThisProcess(Worker):
    """The worker of `--workers=0`: a task that it is handed has ended when `begin` returns."""

    def __init__(self, hear: Callable[[Worker, Event], None]):
        super().__init__(0)
        self._hear, self._wanted = hear, True
        self._session = Session(self._send, lambda: self._wanted)

    def answer(self, wanted: bool) -> None:
        """Answers an evaluation."""
        self._wanted = wanted

    def _send(self, event: Event) -> None:
        # Another thread tells that the run is alive, which nobody here could act on.
        if event["event"] != "alive":
            self._hear(self, event)

    def _hand(self, job: dict[str, Any]) -> None:
        for event in self._session.work(job):
            self._hear(self, event)


class Process(Worker):
    """A worker in a process of its own."""

    def __init__(self, number: int, machine: Machine, *, workers: int, workdir: Path, environ: dict[str, str]):
        """Starts it; `events` tells when it is ready.

        Args:
          number: which worker it is.
          machine: where it runs.
          workers: how many there are.
          workdir: of the study: compiled programs and logs go there.
          environ: the variables of this process.
        """
        super().__init__(number)
        self.ready = False
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._rest = b""
        cores = ",".join(map(str, machine.share(number))) if machine.kind == "cpu" else ""
        logs = workdir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"worker-{number}.log"
        words = [sys.executable, "-m", "attention_jax.study.engine.worker"]
        options = {"parent": os.getpid(), "events": write, "cores": cores}
        cache = (workdir / "compiled").absolute()
        environment = worker_environment(machine, number, workers=workers, cache=cache, environ=environ)
        # The package may not be installed, and the folder that commands start in need not hold it.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words, *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[write],
                env=environment,
                # A Ctrl-C reaches the supervisor, which tells each worker once.
                start_new_session=True,
            )
        os.close(write)

    @property
    def idle(self) -> bool:
        """Whether it has started and has no task."""
        return self.ready and self.task is None

    def fileno(self) -> int:
        """The descriptor that is readable when there are events."""
        return self._read

    def events(self) -> list[Event]:
        """Returns the events that have come, without waiting."""
        with suppress(BlockingIOError):
            while data := os.read(self._read, 1 << 16):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def answer(self, wanted: bool) -> None:
        """Answers an evaluation."""
        self._write(wanted)

    @property
    def ended(self) -> bool:
        """Whether the process is no more."""
        return self.process.poll() is not None

    def signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it now."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def close(self, *, seconds: float = 10.0) -> None:
        """Ends it once it has nothing to do, and closes the pipes."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        os.close(self._read)

    def how_it_ended(self) -> str:
        """Returns "signal SIGKILL" or "exit code 1"."""
        code = self.process.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _hand(self, job: dict[str, Any]) -> None:
        self._write(job)

    def _write(self, value: Any) -> None:
        # One that has just ended does not read; that it has ended is seen elsewhere.
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(value).encode() + b"\n")
            self.process.stdin.flush()
