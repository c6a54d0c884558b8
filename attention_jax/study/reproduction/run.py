"""`launch.py reproduce`: it runs rows that have no result, and writes their lines and the table."""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.formatting import readable_seconds
from attention_jax.study.engine.cells import Result
from attention_jax.study.engine.run import How, check_how, held, run_cells
from attention_jax.study.reproduction import lines as reproduce_lines
from attention_jax.study.reproduction.lines import Line, line_of
from attention_jax.study.reproduction.queue import Queue, Turn, stretches, turns
from attention_jax.study.reproduction.rows import Attempt, Row
from attention_jax.study.reproduction.standing import Standing, standings
from attention_jax.study.reproduction.table import seconds_left, table
from attention_jax.study.sweep import end as sweep_end
from attention_jax.study.sweep.run import search
from attention_jax.study.sweep.source import final_name
from attention_jax.training import Progress
from attention_jax.training.run.workdir import write_atomically, written

RUNS = "ATTENTION_JAX_RUNS"


@dataclass(frozen=True)
class Places:
    """Where runs and results lie.

    Attributes:
      runs: the folder of the runs, which go on from there; outside of the checkout.
      results: the folder of the raw lines; the table is beside it, under its name with ".md".
    """

    runs: Path
    results: Path

    @property
    def cells(self) -> Path:
        """The study of all cells, which `launch.py status` shows."""
        return self.runs / "cells"

    @property
    def table(self) -> Path:
        """The file of the table."""
        return self.results.with_suffix(".md")

    def lines(self, rows: Iterable[Row]) -> dict[str, list[Line]]:
        """Returns the lines of each row, by its name.

        Raises:
          Refused: a line is none.
        """
        return {row.name: reproduce_lines.read(self.results, row.name) for row in rows}

    def check_results(self) -> None:
        """Makes the folder of the lines, before a run whose line could not be written.

        Raises:
          Refused: it cannot be made or written.
        """
        folder = self.results / reproduce_lines.FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(
                f"results {str(folder)!r} cannot be made: {error.strerror}. Give another --results."
            ) from error
        if not os.access(folder, os.W_OK):
            raise Refused(f"results {str(folder)!r} cannot be written: give another --results.")

    def write_table(self, rows: Sequence[Row]) -> None:
        """Writes the table anew.

        Raises:
          RunFailed: it could not be written.
        """
        text = table(rows, self.lines(rows))
        with written(self.table):
            write_atomically(self.table, text)


def places(results: str | None, environ: Mapping[str, str] = os.environ) -> Places:
    """Returns where runs and results lie: what the user says, or the cache folder, and docs/results of a checkout."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    runs = Path(environ.get(RUNS) or cache / "attention_jax" / "runs")
    of_checkout = Path("docs/results")
    return Places(runs, Path(results) if results else of_checkout if of_checkout.is_dir() else runs / "results")


def chosen(rows: Sequence[Row], names: Collection[str]) -> list[Row]:
    """Returns the rows of some names, all where there are none.

    Raises:
      Refused: there is no such row.
    """
    known = [row.name for row in rows]
    for name in names:
        if name not in known:
            raise Refused(f"there is no row {name!r} to reproduce.{did_you_mean(name, known)}")
    return [row for row in rows if not names or row.name in names]


class Reproducer:
    """Runs rows, and keeps what became of them."""

    def __init__(self, rows: Sequence[Row], where: Places, *, workers: int | None, retry: str | None):
        """Begins; runs nothing.

        Args:
          rows: all that there are, for the table.
          where: the folders.
          workers: how many processes train; None is one a core or device, 0 trains in this process.
          retry: "failed" or "refused" runs those again that ended so.

        Raises:
          Refused: an option cannot be.
        """
        check_how(How(workers, retry=retry))
        self._rows, self._where, self._workers = rows, where, workers
        self._retry = self._retry_cells = retry
        self._lines: dict[str, list[Line]] = {}
        # That of the code that runs, whatever is edited until a run ends.
        reproduce_lines.commit()
        self._say = Progress().say

    def run(
        self, wanted: Sequence[Row], *, asked: Collection[str], seeds: Sequence[int] | None, notes: Iterable[str] = ()
    ) -> list[Standing]:
        """Runs what is missing of some rows, and returns where each of their entries stands then.

        The table is written whatever ends the runs.

        Args:
          wanted: the rows.
          asked: the names of those that run whatever results there are.
          seeds: with which they run, in place of their own.
          notes: lines that are said before the first run.

        Raises:
          Refused: another process runs, a folder cannot be used, or a raw line is none.
          Interrupted: a signal came; what was in training was saved first.
          RunFailed: no worker starts, or a line or the table cannot be written.
        """
        with alone(self._where.runs):
            self._where.check_results()
            self._lines = self._where.lines(self._rows)
            ordered = turns([self._standings(row) for row in wanted], asked=asked, seeds=seeds)
            for note in notes:
                self._say(note)
            self._announce(ordered)
            try:
                for stretch in stretches(ordered):
                    self._run(stretch)
            finally:
                self._where.write_table(self._rows)
        return [standing for row in wanted for standing in self._standings(row)]

    def _standings(self, row: Row) -> list[Standing]:
        return standings(row, self._lines[row.name])

    def _announce(self, ordered: Sequence[Turn]) -> None:
        shares = [seconds_left(turn.row, self._standings(turn.row)) for turn in ordered if turn.row.sweep is not None]
        for turn in ordered:
            if turn.row.sweep is None:
                shares.append(60 * turn.row.declared.core_minutes * len(turn.cells) / len(turn.row.entries))
        count = sum(len(turn.cells) for turn in ordered)
        sweeps = sum(turn.row.sweep is not None for turn in ordered)
        if ordered:
            parts = [_counted(count, "run"), _counted(sweeps, "sweep")]
            said = " and ".join(part for part in parts if not part.startswith("0 "))
            cost = readable_seconds(sum(shares))
            self._say(f"{said}, declared to take {cost} of one core or device; in {self._where.runs}")

    def _run(self, stretch: Sequence[Turn]) -> None:
        if stretch[0].row.sweep is not None:
            self._search(stretch[0].row)
            return
        # What ended so is put back once: a later stretch would put back what an earlier one has seen fail.
        retry, self._retry_cells = self._retry_cells, None
        queue = Queue(stretch, self._ended)
        run_cells(queue, self._where.cells, workers=self._workers, retry=retry)

    def _ended(self, cell: Attempt, result: Result, seconds: float) -> None:
        row = next(row for row in self._rows if row.name == cell.labels["row"])
        entry = next(entry for entry in row.entries if entry.label == cell.labels["entry"])
        what = {**cell.labels, "version": row.declared.version, "written": entry.written, "config": cell.config}
        self._keep(line_of(result, cell.folder(self._where.cells), seconds=seconds, **what))

    def _search(self, row: Row) -> None:
        """Runs a sweep to its end; its lines are the fresh seeds of its best."""
        assert row.sweep is not None
        (entry,) = row.entries
        # A key that makes another folder of another config or version, as that of a cell does.
        folder = self._where.runs / "sweeps" / row.cell(entry, row.seeds[0]).name
        began = time.monotonic()
        source = search(row.sweep, folder, How(self._workers, retry=self._retry))
        seconds = time.monotonic() - began
        best = sweep_end.found(source).best
        for seed in row.seeds:
            what = {"row": row.name, "entry": "", "seed": seed, "version": row.declared.version}
            what |= {"written": entry.written, "config": entry.config_of(seed)}
            if best is None:
                self._keep(line_of(Result("failed", "no trial ran to its end"), folder, seconds=seconds, **what))
                continue
            trained = folder / "runs" / final_name(best.trial.number, seed)
            _, result = source.finals[best.trial.number, seed]
            self._keep(line_of(result, trained, seconds=seconds, **what, found=dict(best.point)))

    def _keep(self, line: Line) -> None:
        """Appends a line, unless it was written before a stop."""
        lines = self._lines[line.row]
        if any(line.tells_of_the_same_run(other) for other in lines):
            # It counts again, also where another machine has run it since.
            lines.append(line)
            return
        # Once it can be written, the next start writes it: the store has the result.
        with written(reproduce_lines.path_of(self._where.results, line.row)):
            reproduce_lines.append(self._where.results, line)
        lines.append(line)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@contextmanager
def alone(runs: Path) -> Iterator[None]:
    """Holds the folder of the runs.

    Raises:
      Refused: another process has it, or it cannot be used.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{RUNS}={runs} cannot be used: {error.strerror}. Set it to another folder.") from error
    if not os.access(runs, os.W_OK):
        raise Refused(f"{RUNS}={runs} cannot be written. Set it to another folder.")
    with ExitStack() as stack:
        try:
            stack.enter_context(held(runs))
        except Refused as refusal:
            raise Refused(
                f"{RUNS}={runs} is held by a `reproduce` that runs: look at it with `launch.py status "
                f"{runs / 'cells'}`, or set {RUNS} to another folder."
            ) from refusal
        yield
