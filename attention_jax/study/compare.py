"""A comparison as cells: every benchmark with every variant and every seed, and the lines of results.jsonl."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax.study.cells import Cell, ListSource, cell_name
from attention_jax.study.cells import Result as CellResult
from attention_jax.study.plan import Plan, Trial
from attention_jax.study.results import OF_FACTS, OF_OUTCOME, Result, append_result, read_results, write_results


class Comparison(ListSource):
    """The cells of a plan. Each that has a result is a line of `workdir/results.jsonl`, appended when it comes.

    Lines of trials outside the plan stay in the file. `in_order` puts the lines into the plan's order.
    """

    def __init__(self, plan: Plan, benchmarks: Mapping[str, dict[str, Any]], workdir: Path):
        """Makes the cells; writes nothing.

        Args:
          plan: what to run.
          benchmarks: name -> the config of its experiment, whose attention and seed are exchanged.
          workdir: the folder of the comparison.

        Raises:
          Refused: two of the cells are the same.
        """
        self.plan = plan
        self._path = workdir / "results.jsonl"
        self._trials = {_name(trial): trial for trial in plan.trials()}
        self._lines: dict[Trial, Result] = {}
        super().__init__(_cell(trial, benchmarks[trial.benchmark]) for trial in plan.trials())

    def had(self) -> dict[Cell, CellResult]:
        """Reads results.jsonl, and returns the results of the plan's cells in it.

        Raises:
          Refused: a line is not a result.
        """
        self._lines = read_results(self._path)
        self.in_order()
        cells = {self._trials[cell.name]: cell for cell in self.cells}
        return {cells[trial]: _of_line(line) for trial, line in self._lines.items() if trial in cells}

    def tell(self, cell: Cell, result: CellResult) -> None:
        """Adds the line of a result, unless it is there."""
        super().tell(cell, result)
        trial = self._trials[cell.name]
        line = _line(trial, result)
        if self._lines.get(trial) != line:
            self._lines[trial] = line
            append_result(self._path, line)

    def in_order(self) -> list[Result]:
        """Writes the file in the plan's order, other trials last; returns the results that the plan has so far."""
        planned = [trial for trial in self.plan.trials() if trial in self._lines]
        foreign = [trial for trial in self._lines if trial not in set(planned)]
        if self._lines:
            write_results(self._path, [self._lines[trial] for trial in (*planned, *foreign)])
        return [self._lines[trial] for trial in planned]


def _cell(trial: Trial, sections: dict[str, Any]) -> Cell:
    model = {**sections["model"], "attention": trial.variant}
    return Cell(
        name=_name(trial),
        config={**sections, "model": model, "seed": trial.seed},
        labels={"benchmark": trial.benchmark, "variant": trial.variant, "seed": trial.seed},
        title=str(trial),
    )


def _name(trial: Trial) -> str:
    return cell_name(trial.benchmark, trial.variant, str(trial.seed))


def _line(trial: Trial, result: CellResult) -> Result:
    assert result.status != "pruned"
    return Result(
        benchmark=trial.benchmark,
        variant=trial.variant,
        seed=trial.seed,
        **{name: result.outcome.get(name) for name in OF_OUTCOME},
        status=result.status,
        reason=result.reason,
        **{name: result.facts.get(name) for name in OF_FACTS},
    )


def _of_line(line: Result) -> CellResult:
    outcome = {name: getattr(line, name) for name in OF_OUTCOME} if line.status == "done" else {}
    facts = {name: getattr(line, name) for name in OF_FACTS if getattr(line, name) is not None}
    return CellResult(line.status, line.reason, outcome, facts)
