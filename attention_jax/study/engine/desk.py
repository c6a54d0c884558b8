"""Between a source and the workers: which cell is next, whose it is, and what became of it."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_jax.study.engine.account import Account
from attention_jax.study.engine.backlog import Backlog
from attention_jax.study.engine.cells import COUNTS, Cell, Result, Source
from attention_jax.study.engine.display import Display
from attention_jax.study.engine.store import LEASE_SECONDS, Store

_ELSEWHERE_SECONDS = 2.0


class Desk:
    """The cells of a study on this host: asked for, leased, handed out, written down.

    Attributes:
      account: where the study is.
      tries: cells of which a step is to be tried, one of each program.
    """

    def __init__(
        self, source: Source, store: Store, workdir: Path, display: Display, *, workers: int, planned: int = 0
    ):
        self.account = Account(workdir, display, whole=source.eager, workers=workers, planned=planned)
        self.tries: list[Cell] = []
        self._trying: set[str] = set()
        self._source, self._store = source, store
        self._known = {row.identity: row.result for row in store.rows() if row.result is not None}
        self._backlog = Backlog()
        self._elsewhere: list[Cell] = []
        self._compiled: dict[str, Counter[str]] = {}
        self._looked = self._renewed = 0.0
        self._said_refused = False

    def open(self, *, tries: bool, preflight: Sequence[Cell] = ()) -> None:
        """Asks an eager source for all of its cells, so that the store and the total know them.

        Args:
          tries: whether a step of each program is to be tried first.
          preflight: cells that stand for those of a source that is not eager.
        """
        cells = []
        while self._source.eager and (cell := self._source.ask()) is not None:
            cells.append(cell)
        self._store.register(cells)
        for cell in cells:
            self._admit(cell)
        if kept := len(self.account.results):
            self.account.display.say(f"keeping the results of {kept} of {len(cells)} runs")
        if tries:
            done = {cell.program for cell in cells if cell.name in self.account.results}
            first: dict[str, Cell] = {}
            for cell in cells:
                if cell.program not in done:
                    first.setdefault(cell.program, cell)
            self.tries = list(preflight) or (list(first.values()) if len(first) > 1 else [])
            self._trying = {cell.program for cell in self.tries}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hand out or to wait for, whatever workers are at."""
        return not self.tries and not len(self._backlog) and not self._elsewhere and self._source.exhausted

    @property
    def waits(self) -> bool:
        """Whether cells are with other supervisors."""
        return bool(self._elsewhere)

    @property
    def prunes(self) -> bool:
        """Whether the source has a say in whether cells go on."""
        return self._source.prunes

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        """Returns the source's word on an evaluation."""
        return self._source.wants(cell, step, value)

    def next(self, mine: Collection[str], others: Collection[str], *, busy: bool) -> Cell | None:
        """Leases the next cell for a worker; None when there is none now.

        Args:
          mine: the programs that the worker has in memory.
          others: those that other workers have.
          busy: whether other workers are at work.

        Raises:
          RuntimeError: the source says that it is not exhausted, and nothing that it could wait for is under way.
        """
        while True:
            if not len(self._backlog) and not self._ask():
                idle = not busy and not self._elsewhere and not self._source.exhausted
                if idle:
                    raise RuntimeError("the source has no cell, waits for none and is not exhausted")
                return None
            cell = self._backlog.take(mine, others)
            assert cell is not None
            if self._store.take(cell):
                return cell
            self._elsewhere.append(cell)

    def next_of(self, program: str, most: int) -> list[Cell]:
        """Leases more cells of a program, as many as wait and at most so many, to be trained with one of it."""
        cells: list[Cell] = []
        # A source that learns is asked for no more than so many at once.
        for _ in range(most):
            cell = self._backlog.take_of(program)
            if cell is None and self._ask():
                cell = self._backlog.take_of(program)
            if cell is None:
                continue
            if self._store.take(cell):
                cells.append(cell)
            else:
                self._elsewhere.append(cell)
        return cells

    def put_back(self, cell: Cell) -> None:
        """Takes a cell back that is to go on: it is the next."""
        self._backlog.put_back(cell)

    def tried(self, cell: Cell, result: Result) -> None:
        """Takes what a try has shown: what cannot run is a row at once, for every seed."""
        # Counted to the first of its cells that ends.
        self._compiled[cell.program] = self._counts(result.facts)
        if result.status == "done":
            self.account.foresee(result.outcome)
        else:
            if not self._source.eager:
                self.account.display.say(f"{cell.title}: {result.status}: {result.reason}")
            for other in self._backlog.take_program(cell.program):
                if self._store.take(other):
                    self.finish(other, result, seconds=0.0)
                else:
                    self._elsewhere.append(other)
        self._trying.discard(cell.program)
        if not self._trying:
            self.account.say_tried("every configuration" if self._source.eager else "a sample of the configurations")

    def finish(self, cell: Cell, result: Result, *, seconds: float) -> None:
        """Writes down what became of a cell after some seconds of work, and tells the source."""
        counts = self._counts(result.facts) + self._compiled.pop(cell.program, Counter())
        result = replace(result, facts={**result.facts, **counts})
        if not self._store.finish(cell, result):
            # The lease ran out, and another supervisor has the cell now.
            self._elsewhere.append(cell)
            return
        self.account.finish(cell, result, seconds=seconds)
        self._source.tell(cell, result)

    def lost(self) -> Collection[str] | None:
        """Renews the leases where a server has them and it is time; returns the identities that are still ours."""
        now = time.monotonic()
        if self._store.on_one_machine or now - self._renewed < LEASE_SECONDS / 4:
            return None
        self._renewed = now
        return self._store.renew()

    def give_up(self, cell: Cell) -> None:
        """Leaves a cell to the supervisor that has it now."""
        self.account.say(cell, "its lease ran out while the storage did not answer; another supervisor has it")
        self._elsewhere.append(cell)

    def look_elsewhere(self) -> None:
        """Takes the results of other supervisors' cells, and their cells where their lease has run out."""
        now = time.monotonic()
        if not self._elsewhere or now - self._looked < _ELSEWHERE_SECONDS:
            return
        self._looked = now
        waiting, self._elsewhere = self._elsewhere, []
        for cell in waiting:
            row = self._store.row(cell)
            if row is not None and row.result is not None:
                self.account.say(cell, f"{row.result.status} by another supervisor")
                self._tell(cell, row.result)
            elif self._store.take(cell):
                self._backlog.put_back(cell)
            else:
                self._elsewhere.append(cell)

    def close(self, at_work: list[Cell]) -> None:
        """Gives back the cells that workers were at."""
        self._store.release([*at_work, *self._elsewhere])

    def _ask(self) -> bool:
        """Asks the source for a cell that has no result; returns whether there is one."""
        while not self._source.eager and (cell := self._source.ask()) is not None:
            self._store.register([cell])
            self._admit(cell)
            if len(self._backlog):
                return True
        return False

    def _admit(self, cell: Cell) -> None:
        """Takes a cell of the source: into the backlog, or its result back to the source where there is one."""
        self.account.admit(cell)
        known = self._known.get(cell.identity)
        if known is None:
            self._backlog.add(cell)
        else:
            self._tell(cell, known)

    def _tell(self, cell: Cell, result: Result) -> None:
        self.account.results[cell.name] = result
        self._source.tell(cell, result)

    def _counts(self, facts: Mapping[str, Any]) -> Counter[str]:
        """Returns what was compiled; says so, once, where the cache has entries that it refuses to load."""
        counts = Counter({name: facts[name] for name in COUNTS if name in facts})
        if counts["cache_refused"] and not self._said_refused:
            self._said_refused = True
            self.account.display.say(
                "the cache of compiled programs has entries that cannot be loaded here, and what they hold is compiled "
                "each time: a run's log says why; delete the folder, or give another JAX_COMPILATION_CACHE_DIR"
            )
        return counts
