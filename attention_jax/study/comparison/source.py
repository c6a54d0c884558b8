"""A comparison as cells: every benchmark with every variant and every seed, and the lines of results.jsonl."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attention_jax.study.comparison.plan import Plan, Trial, point_name, run_name
from attention_jax.study.comparison.results import (
    OF_FACTS,
    OF_OUTCOME,
    Result,
    append_result,
    read_results,
    write_results,
)
from attention_jax.study.comparison.tuning import Tuned
from attention_jax.study.engine.cells import Cell, ListSource
from attention_jax.study.engine.cells import Result as CellResult

Point = Mapping[str, Any]


class Lines:
    """The lines of `workdir/results.jsonl`: of each trial the one that came last.

    A line says the tuned point that it is of. Of another point than the one that is asked for it is no result.
    """

    def __init__(self, workdir: Path):
        """Knows of no line yet; `read` does."""
        self._path = workdir / "results.jsonl"
        self._lines: dict[Trial, Result] = {}

    def read(self) -> dict[Trial, Result]:
        """Reads the file and returns its lines; raises Refused where one is not a result."""
        self._lines = read_results(self._path)
        return self._lines

    def add(self, line: Result) -> None:
        """Appends a line, unless it is there."""
        if self._lines.get(line.trial) != line:
            self._lines[line.trial] = line
            append_result(self._path, line)

    def in_order(self, wanted: Mapping[Trial, Point | None]) -> list[Result]:
        """Writes the file in the order of the trials that are wanted, others last; returns the results of the former.

        Args:
          wanted: each trial with its point; None where it is not tuned.
        """
        foreign = [trial for trial in self._lines if trial not in wanted]
        planned = [trial for trial in wanted if trial in self._lines]
        if self._lines:
            write_results(self._path, [self._lines[trial] for trial in (*planned, *foreign)])
        return [self._lines[trial] for trial in planned if _is_of(self._lines[trial], wanted[trial])]


class Comparison(ListSource):
    """The cells of a plan. Each that has a result is a line of `workdir/results.jsonl`, appended when it comes.

    Lines of trials outside the plan stay in the file. `in_order` puts the lines into the plan's order.
    """

    def __init__(self, plan: Plan, config_of: Callable[[str, str, int], dict[str, Any]], workdir: Path):
        """Makes the cells; writes nothing.

        Args:
          plan: what to run.
          config_of: (benchmark, variant, seed) -> the config that is trained, as of `Variation`.
          workdir: the folder of the comparison.

        Raises:
          Refused: two of the cells are the same.
        """
        self.plan = plan
        self._lines = Lines(workdir)
        self._trials = {run_name(trial): trial for trial in plan.trials()}
        super().__init__(
            trial_cell(trial, config_of(trial.benchmark, trial.variant, trial.seed)) for trial in plan.trials()
        )

    def had(self) -> dict[Cell, CellResult]:
        """Reads results.jsonl, and returns the results of the plan's cells in it.

        Raises:
          Refused: a line is not a result.
        """
        self._lines.read()
        found = {line.trial: line for line in self.in_order()}
        cells = {self._trials[cell.name]: cell for cell in self.cells}
        return {cells[trial]: of_line(line) for trial, line in found.items()}

    def tell(self, cell: Cell, result: CellResult) -> None:
        """Adds the line of a result, unless it is there."""
        super().tell(cell, result)
        self._lines.add(line_of(self._trials[cell.name], result))

    def tuned(self) -> list[Tuned]:
        """Returns no search: the variants are compared as they are configured."""
        return []

    def in_order(self) -> list[Result]:
        """Writes the file in the plan's order, other trials last; returns the results that the plan has so far."""
        return self._lines.in_order(dict.fromkeys(self.plan.trials()))


def _is_of(line: Result, point: Point | None) -> bool:
    if line.point is None or point is None:
        return line.point is point
    return point_name(line.point) == point_name(point)


def trial_cell(trial: Trial, sections: dict[str, Any], point: Point | None = None) -> Cell:
    """Returns the cell of a trial, which is trained with the tuned keys of a point."""
    tuned = {} if point is None else {"point": dict(point)}
    return Cell(
        name=run_name(trial, point),
        config=sections,
        labels={"benchmark": trial.benchmark, "variant": trial.variant, "seed": trial.seed, **tuned},
        title=str(trial),
    )


def line_of(trial: Trial, result: CellResult, point: Point | None = None) -> Result:
    """Returns the line of what became of a trial."""
    assert result.status != "pruned"
    return Result(
        benchmark=trial.benchmark,
        variant=trial.variant,
        seed=trial.seed,
        **{name: result.outcome.get(name) for name in OF_OUTCOME},
        status=result.status,
        reason=result.reason,
        **{name: result.facts.get(name) for name in OF_FACTS},
        point=None if point is None else dict(point),
    )


def of_line(line: Result) -> CellResult:
    """Returns what became of the trial that a line is of."""
    outcome = {name: getattr(line, name) for name in OF_OUTCOME} if line.status == "done" else {}
    facts = {name: getattr(line, name) for name in OF_FACTS if getattr(line, name) is not None}
    return CellResult(line.status, line.reason, outcome, facts)
