"""The supervisor of a study: it hands cells to workers, watches them, and keeps what became of each in the store.

Whatever ends, the study goes on: a worker's cell from its checkpoint on another worker, a supervisor's cells when the
same command is given again, or on another host once their leases have run out.
"""

import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from attention_jax.base.formatting import readable_seconds
from attention_jax.study.engine.cells import Cell, Result, Source
from attention_jax.study.engine.crew import InThisProcess, Process, Task, Worker
from attention_jax.study.engine.desk import Desk
from attention_jax.study.engine.display import Display
from attention_jax.study.engine.places import Machine
from attention_jax.study.engine.reporter import Event
from attention_jax.study.engine.store import Store
from attention_jax.training.run.interrupt import Interrupted
from attention_jax.training.run.outcome import RunFailed
from attention_jax.training.run.watch import SIGNALS

# A cell has failed when it was stuck so often at one step, or its worker has died so often without a step more.
_TIMES_STUCK, _TIMES_DEAD = 2, 5
# So many workers that end before they are ready, one after the other, end the study.
_TIMES_NOT_READY = 3
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Terms:
    """How a study runs.

    Attributes:
      machine: what its workers run on.
      workers: how many; 0 runs the cells in this process.
      tries: whether one step of every program is tried before the first cell.
      stuck_seconds: the least time without a sign of life after which a worker is stuck.
      preflight, planned: as of `run_cells`.
      members: how many cells of one program, at most, a worker trains as one.
    """

    machine: Machine
    workers: int
    tries: bool = True
    stuck_seconds: float = 120.0
    preflight: Sequence[Cell] = ()
    planned: int = 0
    members: int = 1


class Supervisor:
    """One run of a study on this host."""

    def __init__(self, source: Source, store: Store, workdir: Path, terms: Terms, display: Display):
        self._desk = Desk(source, store, workdir, display, workers=terms.workers, planned=terms.planned)
        self._account = self._desk.account
        self._workdir, self._terms, self._display = workdir, terms, display
        self._crew: list[Worker] = []
        self._trouble: Counter[tuple[str, str, int]] = Counter()
        self._not_ready = 0
        self._signum: int | None = None

    def run(self) -> dict[str, Result]:
        """Runs every cell to its result, and returns the results by the cells' names, in the order they came.

        Raises:
          Interrupted: a signal came; the cells in training were saved first.
          RunFailed: no worker starts, or the storage does not answer any more.
        """
        with self._signals():
            try:
                self._desk.open(tries=self._terms.tries, preflight=self._terms.preflight)
                if not self._desk.is_empty:
                    self._crew = [self._new_worker(number) for number in range(max(1, self._terms.workers))]
                while not self._desk.is_empty or self._busy():
                    self._check_signal()
                    self._hand_out()
                    self._listen()
                    self._look_after()
                    self._account.show(self._crew)
            finally:
                self._dismiss()
        return self._account.results

    @property
    def _processes(self) -> list[Process]:
        return [worker for worker in self._crew if isinstance(worker, Process)]

    def _busy(self) -> bool:
        return any(worker.task is not None for worker in self._crew)

    def _hand_out(self) -> None:
        for worker in self._crew:
            while worker.idle and self._signum is None:
                if self._desk.tries:
                    self._begin(worker, Task((self._desk.tries.pop(0),), "try"))
                    continue
                others = {program for other in self._crew if other is not worker for program in other.programs}
                cell = self._desk.next(worker.programs, others, busy=self._busy())
                if cell is None:
                    break
                cells = (cell, *self._desk.next_of(cell.program, self._terms.members - 1))
                for each in cells:
                    self._account.say(each, f"training, one of {len(cells)} members" if len(cells) > 1 else "training")
                self._begin(worker, Task(cells, "train"))

    def _begin(self, worker: Worker, task: Task) -> None:
        job = {
            "do": task.do,
            "cells": [
                {
                    "config": cell.config,
                    "folder": str(cell.folder(self._workdir)),
                    "log": str(self._log(cell)),
                    "tested": cell.tested,
                }
                for cell in task.cells
            ],
            "program": task.cells[0].program,
            "devices": self._terms.machine.devices,
            "prunes": self._desk.prunes and task.do == "train",
        }
        worker.begin(task, job)

    def _log(self, cell: Cell) -> Path:
        return cell.folder(self._workdir) / "log.txt"

    def _listen(self) -> None:
        """Takes the events that have come, waiting a little for the first."""
        with selectors.DefaultSelector() as selector:
            for worker in self._processes:
                if not worker.ended:
                    selector.register(worker, selectors.EVENT_READ)
            if selector.get_map():
                selector.select(_LOOK_SECONDS)
            elif self._desk.waits:
                time.sleep(_LOOK_SECONDS)
        for worker in self._processes:
            self._drain(worker)

    def _drain(self, worker: Process) -> None:
        for event in worker.events():
            self._hear(worker, event)

    def _hear(self, worker: Worker, event: Event) -> None:
        kind, task = event["event"], worker.task
        if kind == "ready" and isinstance(worker, Process):
            worker.ready, self._not_ready = True, 0
        if task is None or kind in ("ready", "stopped"):
            return
        cell = task.cells[event["cell"]]
        if kind == "said":
            # Also from another thread: of a step that is slow, or does not return.
            self._display.say(f"{cell.title}: {event['line']}")
            return
        task.hear(event)
        if kind == "metric" and self._desk.prunes:
            worker.answer(self._signum is not None or self._desk.wants(cell, event["step"], event["value"]))
        elif kind == "done":
            task.end(cell)
            if not task.left:
                worker.task = None
            result = Result(event["status"], event["reason"], event["outcome"], event["facts"])
            self._end(task, cell, result, seconds=(time.monotonic() - task.began) / len(task.cells))
        self._account.show(self._crew)

    def _end(self, task: Task, cell: Cell, result: Result, *, seconds: float = 0.0) -> None:
        result.facts["log"] = str(self._log(cell).relative_to(self._workdir))
        # What was measured alone on the machine, and what beside others, which slow it down.
        result.facts["beside"] = max(0, self._terms.workers - 1)
        if task.do == "try":
            self._desk.tried(cell, result)
        else:
            self._desk.finish(cell, result, seconds=seconds)

    def _look_after(self) -> None:
        for place, worker in enumerate(self._crew):
            if isinstance(worker, Process):
                if worker.task is not None and worker.task.stuck(self._terms.stuck_seconds):
                    self._end_stuck(worker, worker.task)
                if worker.ended and self._signum is None:
                    self._crew[place] = self._replaced(worker)
        self._desk.look_elsewhere()
        ours = self._desk.lost()
        for worker in self._processes if ours is not None else ():
            task = worker.task
            if task is None or task.do != "train" or ours is None:
                continue
            if any(cell.identity not in ours for cell in task.left):
                worker.kill()
                worker.task = None
                for cell in task.left:
                    if cell.identity in ours:
                        self._desk.put_back(cell)
                    else:
                        self._desk.give_up(cell)

    def _end_stuck(self, worker: Process, task: Task) -> None:
        silent = readable_seconds(time.monotonic() - task.heard)
        worker.kill()
        self._drain(worker)
        if worker.task is not None:
            worker.task = None
            self._again(task, "stuck", said=f"no progress at step {task.step} for {silent}", times=_TIMES_STUCK)

    def _replaced(self, worker: Process) -> Process:
        """Returns a new worker in the place of one that has ended."""
        self._drain(worker)
        task, worker.task = worker.task, None
        if not worker.ready:
            self._not_ready += 1
            if self._not_ready >= _TIMES_NOT_READY:
                raise RunFailed(f"workers end before they are ready ({worker.how_it_ended()}): see {worker.log}.")
        worker.close()
        if task is not None:
            said = f"its worker ended by {worker.how_it_ended()} at step {task.step}"
            self._again(task, "dead", said=said, times=_TIMES_DEAD)
        return self._new_process(worker.number)

    def _again(self, task: Task, trouble: str, *, said: str, times: int) -> None:
        """Hands cells on whose worker is no more, unless that has happened too often where they were."""
        # The first is put back last, and so is the next.
        for cell in reversed(task.left):
            key = (trouble, cell.identity, task.step)
            self._trouble[key] += 1
            if self._trouble[key] >= times:
                self._end(task, cell, Result("failed", f"{said}, {times} times"))
            elif task.do == "try":
                self._desk.tries.insert(0, cell)
            else:
                self._account.say(cell, f"{said}; going on from its checkpoint")
                self._desk.put_back(cell)

    def _new_worker(self, number: int) -> Worker:
        return self._new_process(number) if self._terms.workers else InThisProcess(self._hear)

    def _new_process(self, number: int) -> Process:
        terms, environ = self._terms, dict(os.environ)
        return Process(number, terms.machine, workers=terms.workers, workdir=self._workdir, environ=environ)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(signum: int, frame: FrameType | None) -> None:
            if self._signum is not None:
                # Their cells go on from their last checkpoints.
                for worker in self._processes:
                    worker.signal(signal.SIGKILL)
                os._exit(128 + signum)
            self._signum = signum
            if not self._terms.workers:
                # Nothing is in training: that has handlers of its own.
                raise Interrupted("interrupted", signum)

        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _check_signal(self) -> None:
        """Has the workers save where a signal has come.

        Raises:
          Interrupted: they have.
        """
        if self._signum is None:
            return
        self._display.say("stopping: each worker saves its run; a second signal ends them at once")
        for worker in self._processes:
            worker.signal(signal.SIGTERM)
        while not all(worker.ended for worker in self._processes):
            self._listen()
        for worker in self._processes:
            self._drain(worker)
        raise Interrupted("interrupted", self._signum)

    def _dismiss(self) -> None:
        """Ends the workers, gives back what is not finished, and says so to whoever looks at the status."""
        tasks = [worker.task for worker in self._crew if worker.task is not None]
        for worker in self._processes:
            if worker.task is not None:
                worker.kill()
        for worker in self._processes:
            worker.close()
            worker.task = None
        with suppress(RunFailed):
            self._desk.close([cell for task in tasks if task.do == "train" for cell in task.left])
        self._account.show(self._crew, ended=True)
        self._display.close()
