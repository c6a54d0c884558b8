"""The supervisor of a study: it hands cells to workers, watches them, and keeps what became of each in the store.

Whatever ends, the study goes on: a worker's cell from its checkpoint on another worker, a supervisor's cells when the
same command is given again, or on another host once their leases have run out.
"""

import json
import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from attention_jax.study.backlog import Backlog
from attention_jax.study.cells import Cell, Result, Source
from attention_jax.study.crew import InThisProcess, Process, Task, Worker
from attention_jax.study.display import AtWork, Display, Standing
from attention_jax.study.places import Machine
from attention_jax.study.session import Event
from attention_jax.study.store import LEASE_SECONDS, Store
from attention_jax.training.interrupt import Interrupted
from attention_jax.training.outcome import RunFailed
from attention_jax.training.progress import readable_seconds
from attention_jax.training.watch import SIGNALS

STATUS_FILE = "status.json"
# A cell has failed when it was stuck so often at one step, or its worker has died so often without a step more.
_TIMES_STUCK, _TIMES_DEAD = 2, 5
# So many workers that end before they are ready, one after the other, end the study.
_TIMES_NOT_READY = 3
_LOOK_SECONDS = 0.2
_STATUS_SECONDS = 1.0
_ELSEWHERE_SECONDS = 2.0


@dataclass(frozen=True)
class Terms:
    """How a study runs.

    Attributes:
      machine: what its workers run on.
      workers: how many; 0 runs the cells in this process.
      tries: whether one step of every program is tried before the first cell.
      stuck_seconds: the least time without a sign of life after which a worker is stuck.
    """

    machine: Machine
    workers: int
    tries: bool = True
    stuck_seconds: float = 120.0


class Supervisor:
    """One run of a study on this host."""

    def __init__(self, source: Source, store: Store, workdir: Path, terms: Terms, display: Display):
        self.results: dict[str, Result] = {}
        self._source, self._store, self._workdir = source, store, workdir
        self._terms, self._display = terms, display
        self._places: dict[str, int] = {}
        self._known = {row.identity: row.result for row in store.rows() if row.result is not None}
        self._backlog = Backlog()
        self._tries: list[Cell] = []
        self._foreseen: dict[str, float] = {}
        self._elsewhere: list[Cell] = []
        self._crew: list[Worker] = []
        self._trouble: Counter[tuple[str, str, int]] = Counter()
        self._not_ready = 0
        self._seconds: list[float] = []
        self._kept = 0
        self._signum: int | None = None
        self._looked = self._renewed = self._told = 0.0

    def run(self) -> dict[str, Result]:
        """Runs every cell to its result, and returns the results by the cells' names, in the order they came.

        Raises:
          Interrupted: a signal came; the cells in training were saved first.
          RunFailed: no worker starts, or the storage does not answer any more.
        """
        with self._signals():
            try:
                self._ask_ahead()
                self._crew = [self._new_worker(number) for number in range(max(1, self._terms.workers))]
                while not self._finished():
                    self._check_signal()
                    self._hand_out()
                    self._listen()
                    self._look_after()
                    self._show()
            finally:
                self._dismiss()
        return self.results

    # What the source is asked and told.

    def _ask_ahead(self) -> None:
        """Asks an eager source for all of its cells, so that the store and the total know them."""
        cells = []
        while self._source.eager and (cell := self._source.ask()) is not None:
            cells.append(cell)
        self._store.register(cells)
        for cell in cells:
            self._admit(cell)
        if self._kept:
            self._display.say(f"keeping the results of {self._kept} of {len(cells)} runs")
        if self._terms.tries:
            done = {cell.program for cell in cells if cell.name in self.results}
            first = {cell.program: cell for cell in reversed(cells) if cell.program not in done}
            self._tries = list(reversed(first.values())) if len(first) > 1 else []

    def _admit(self, cell: Cell) -> None:
        """Takes a cell of the source: into the backlog, or its result back to the source where there is one."""
        self._places[cell.name] = len(self._places) + 1
        known = self._known.get(cell.identity)
        if known is None:
            self._backlog.add(cell)
        else:
            self._kept += 1
            self._tell(cell, known)

    def _tell(self, cell: Cell, result: Result) -> None:
        self.results[cell.name] = result
        self._source.tell(cell, result)

    def _finished(self) -> bool:
        busy = self._tries or len(self._backlog) or self._elsewhere or any(worker.task for worker in self._crew)
        return not busy and self._source.exhausted

    # Handing out.

    def _hand_out(self) -> None:
        for worker in self._crew:
            while worker.idle and self._signum is None and (found := self._next(worker)) is not None:
                self._begin(worker, *found)

    def _next(self, worker: Worker) -> tuple[Cell, bool] | None:
        """Returns what a worker is to do next, and whether it is only a try."""
        if self._tries:
            return self._tries.pop(0), True
        if not len(self._backlog) and not self._source.eager:
            while (cell := self._source.ask()) is not None:
                self._store.register([cell])
                self._admit(cell)
                if len(self._backlog):
                    break
        others = {program for other in self._crew if other is not worker for program in other.programs}
        while (cell := self._backlog.take(worker.programs, others)) is not None:
            if self._store.take(cell):
                return cell, False
            self._elsewhere.append(cell)
        if self._idle_for_ever():
            raise RuntimeError("the source has no cell, waits for none and is not exhausted")
        return None

    def _idle_for_ever(self) -> bool:
        at_work = any(worker.task for worker in self._crew) or self._elsewhere or len(self._backlog)
        return not at_work and not self._source.eager and not self._source.exhausted

    def _begin(self, worker: Worker, cell: Cell, only_try: bool) -> None:
        if not only_try:
            self._say(cell, "training")
        worker.begin(
            Task(cell, "try" if only_try else "train"),
            {
                "do": "try" if only_try else "train",
                "config": cell.config,
                "program": cell.program,
                "folder": str(cell.folder(self._workdir)),
                "log": str(self._log(cell)),
                "prunes": self._source.prunes and not only_try,
            },
        )

    def _log(self, cell: Cell) -> Path:
        return cell.folder(self._workdir) / "log.txt"

    # What workers tell.

    def _listen(self) -> None:
        """Takes the events that have come, waiting a little for the first."""
        processes = [worker for worker in self._crew if isinstance(worker, Process)]
        with selectors.DefaultSelector() as selector:
            for worker in processes:
                if not worker.ended:
                    selector.register(worker, selectors.EVENT_READ)
            if selector.get_map():
                selector.select(_LOOK_SECONDS)
            elif self._elsewhere:
                time.sleep(_LOOK_SECONDS)
        for worker in processes:
            for event in worker.events():
                self._hear(worker, event)

    def _hear(self, worker: Worker, event: Event) -> None:
        kind, task = event["event"], worker.task
        if kind == "ready" and isinstance(worker, Process):
            worker.ready, self._not_ready = True, 0
        if task is None or kind in ("ready", "stopped"):
            return
        task.hear(event)
        if kind == "metric" and self._source.prunes and isinstance(worker, (Process, InThisProcess)):
            worker.answer(self._signum is not None or self._source.wants(task.cell, event["step"], event["value"]))
        elif kind == "done":
            worker.task = None
            facts = {**event["facts"], "log": str(self._log(task.cell).relative_to(self._workdir))}
            result = Result(event["status"], event["reason"], event["outcome"], facts)
            if task.do == "try":
                self._tried(task.cell, result)
            else:
                self._finish(task.cell, result, seconds=time.monotonic() - task.began)
        self._show()

    def _tried(self, cell: Cell, result: Result) -> None:
        """Takes what a try has shown: what cannot run is a row at once, for every seed."""
        if result.status == "done":
            self._foreseen[cell.program] = (
                result.outcome.get("ms_per_step", 0.0) * result.outcome.get("steps", 0) / 1000
            )
        else:
            for other in self._backlog.take_program(cell.program):
                if self._store.take(other):
                    self._finish(other, result, seconds=0.0)
                else:
                    self._elsewhere.append(other)
        if not self._tries and not any(worker.task and worker.task.do == "try" for worker in self._crew):
            left = self._seconds_left()
            said = "" if not left else f"; about {readable_seconds(left)} of training foreseen"
            self._display.say(f"every configuration was tried for a step, {len(self._foreseen)} can run{said}")

    def _finish(self, cell: Cell, result: Result, *, seconds: float) -> None:
        if not self._store.finish(cell, result):
            # The lease ran out, and another supervisor has the cell now.
            self._elsewhere.append(cell)
            return
        if result.status == "done":
            self._seconds.append(seconds)
            outcome = result.outcome
            left = self._seconds_left()
            after = "" if left is None else f", about {readable_seconds(left)} left"
            self._say(cell, f"{outcome['metric']} {outcome['score']:.4g} in {readable_seconds(seconds)}{after}")
        else:
            log = f" (log: {self._workdir / result.facts['log']})" if result.status == "failed" else ""
            self._say(cell, f"{result.status}: {result.reason}{log}")
        self._tell(cell, result)

    # What goes wrong.

    def _look_after(self) -> None:
        now = time.monotonic()
        for place, worker in enumerate(self._crew):
            if isinstance(worker, Process):
                if worker.task is not None and worker.task.stuck(self._terms.stuck_seconds):
                    self._end_stuck(worker, worker.task)
                if worker.ended and self._signum is None:
                    self._crew[place] = self._replaced(worker)
        if self._elsewhere and now - self._looked > _ELSEWHERE_SECONDS:
            self._looked = now
            self._look_elsewhere()
        if not self._store.on_one_machine and now - self._renewed > LEASE_SECONDS / 4:
            self._renewed = now
            self._renew()

    def _end_stuck(self, worker: Process, task: Task) -> None:
        silent = readable_seconds(time.monotonic() - task.heard)
        worker.kill()
        self._drain(worker)
        if worker.task is None:
            return
        worker.task = None
        said = f"no progress at step {task.step} for {silent}"
        self._again_or_failed(task, "stuck", said=said, times=_TIMES_STUCK)

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
            self._again_or_failed(task, "dead", said=said, times=_TIMES_DEAD)
        fresh = self._new_worker(worker.number)
        assert isinstance(fresh, Process)
        return fresh

    def _again_or_failed(self, task: Task, trouble: str, *, said: str, times: int) -> None:
        cell = task.cell
        key = (trouble, cell.identity, task.step)
        self._trouble[key] += 1
        if self._trouble[key] >= times:
            facts = {"log": str(self._log(cell).relative_to(self._workdir))}
            result = Result("failed", f"{said}, {times} times", facts=facts)
            if task.do == "try":
                self._tried(cell, result)
            else:
                self._finish(cell, result, seconds=0.0)
        elif task.do == "try":
            self._tries.insert(0, cell)
        else:
            self._say(cell, f"{said}; going on from its checkpoint")
            self._backlog.put_back(cell)

    def _drain(self, worker: Process) -> None:
        """Takes what a worker had said before it ended."""
        for event in worker.events():
            self._hear(worker, event)

    def _look_elsewhere(self) -> None:
        """Takes the results of other supervisors' cells, and their cells where their lease has run out."""
        waiting, self._elsewhere = self._elsewhere, []
        for cell in waiting:
            row = self._store.row(cell)
            if row is not None and row.result is not None:
                self._say(cell, f"{row.result.status} by another supervisor")
                self._tell(cell, row.result)
            elif self._store.take(cell):
                self._backlog.put_back(cell)
            else:
                self._elsewhere.append(cell)

    def _renew(self) -> None:
        mine = self._store.renew()
        for worker in self._crew:
            task = worker.task
            lost = task is not None and task.do == "train" and task.cell.identity not in mine
            if task is not None and lost and isinstance(worker, Process):
                worker.kill()
                worker.task = None
                self._say(task.cell, "its lease ran out while the storage did not answer; another supervisor has it")
                self._elsewhere.append(task.cell)

    # Beginning and ending.

    def _new_worker(self, number: int) -> Worker:
        terms = self._terms
        if not terms.workers:
            return InThisProcess(self._hear)
        environ = dict(os.environ)
        return Process(number, terms.machine, workers=terms.workers, workdir=self._workdir, environ=environ)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(signum: int, frame: FrameType | None) -> None:
            if self._signum is not None:
                # Their cells go on from their last checkpoints.
                for worker in self._crew:
                    if isinstance(worker, Process):
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
        processes = [worker for worker in self._crew if isinstance(worker, Process)]
        self._display.say("stopping: each worker saves its run; a second signal ends them at once")
        for worker in processes:
            worker.signal(signal.SIGTERM)
        while not all(worker.ended for worker in processes):
            self._listen()
        for worker in processes:
            self._drain(worker)
        raise Interrupted("interrupted", self._signum)

    def _dismiss(self) -> None:
        """Ends the workers, gives back what is not finished, and says so to whoever looks at the status."""
        processes = [worker for worker in self._crew if isinstance(worker, Process)]
        mine = [worker.task.cell for worker in self._crew if worker.task is not None and worker.task.do == "train"]
        for worker in processes:
            if worker.task is not None:
                worker.kill()
        for worker in processes:
            worker.close()
            worker.task = None
        with suppress(RunFailed):
            self._store.release([*mine, *self._elsewhere])
        self._show(ended=True)
        self._display.close()

    # What is shown.

    def _say(self, cell: Cell, news: str) -> None:
        total = f"/{len(self._places)}" if self._source.eager else ""
        self._display.say(f"[{self._places[cell.name]}{total}] {cell.title}: {news}")

    def _seconds_left(self) -> float | None:
        """The time that the known cells that are left take; None where there are none, or no time is known."""
        left = len(self._places) - len(self.results)
        at_once = max(1, min(self._terms.workers, left))
        if self._seconds:
            return (left - 1) * sum(self._seconds) / len(self._seconds) / at_once if left > 1 else None
        if self._foreseen:
            return left * sum(self._foreseen.values()) / len(self._foreseen) / at_once
        return None

    def _show(self, *, ended: bool = False) -> None:
        now = time.monotonic()
        at_work = [
            AtWork(worker.number, worker.task.cell.title, worker.task.step, worker.task.steps, worker.task.rate)
            for worker in self._crew
            if worker.task is not None
        ]
        counts = Counter[str](result.status for result in self.results.values())
        cells = len(self._places) if self._source.eager else None
        standing = Standing(dict(counts), cells, at_work, self._seconds_left())
        if not ended:
            self._display.show(standing)
        if ended or now - self._told > _STATUS_SECONDS:
            self._told = now
            write_status(self._workdir, standing, ended=ended)


def write_status(workdir: Path, standing: Standing, *, ended: bool) -> None:
    """Writes where a study is for `launch.py status`; a disk that is full is not the study's end."""
    path = workdir / STATUS_FILE
    told: Mapping[str, Any] = {**asdict(standing), "time": time.time(), "pid": os.getpid(), "ended": ended}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        temporary.write_text(json.dumps(told) + "\n")
        temporary.replace(path)
