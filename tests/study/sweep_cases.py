"""Sweeps without training: an objective that knows the value of each point, and a loop in place of the workers."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from ml_collections import ConfigDict

from attention_jax.study.engine.cells import Cell, Result
from attention_jax.study.search.base_config import Base
from attention_jax.study.search.space import read_space
from attention_jax.study.sweep.plan import Sweep
from attention_jax.study.sweep.run import Settings, sweep_of
from attention_jax.study.sweep.source import SweepSource
from attention_jax.study.sweep.store import open_study
from tests.launch.command_line import RECALL

SPACE = "optimizer.learning_rate=log(1e-4,1e-1) model.num_layers=int(1,4)"
STEPS = 40


def make_sweep(space: Any = SPACE, *, config: dict[str, Any] | None = None, **settings: Any) -> Sweep:
    """Returns a sweep over the recall task of the tests."""
    base = Base(ConfigDict({**RECALL, **(config or {})}), {}, "recall.py")
    return sweep_of(base, read_space(space), Settings(**settings))


def loss(config: dict[str, Any]) -> float:
    """The loss that a config would have: least at a learning rate of 0.01 and 3 layers, and a little by its seed."""
    rate, layers = config["optimizer"]["learning_rate"], config["model"]["num_layers"]
    return abs(math.log10(rate) + 2) + 0.1 * abs(layers - 3) + 0.01 * (config["seed"] * 7919 % 13) / 13


class Killed(Exception):
    """The supervisor is killed here."""


@dataclass
class Executor:
    """Asks, "trains" and tells, as the supervisor would with one worker, until it is killed after so many calls."""

    folder: Path
    value: Callable[[dict[str, Any]], float] = loss
    statuses: Callable[[Cell], str] = lambda cell: "done"
    calls_left: int | None = None
    lines: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)

    def source(self, sweep: Sweep) -> SweepSource:
        """Opens the study in the folder."""
        study = open_study(f"sqlite:///{self.folder / 'study.db'}", "sweep", sweep, say=self.lines.append)
        return SweepSource(
            study, sweep, objective=lambda cell, result: result.outcome.get("loss"), announce=self.lines.append
        )

    def run(self, sweep: Sweep) -> SweepSource:
        """Runs a sweep to its end; results outlive a kill, as those in the engine's store do."""
        source = self.source(sweep)
        while not source.exhausted:
            cell = source.ask()
            if cell is None:
                assert source.exhausted, "it waits for nothing"
                break
            if cell.identity not in self.results:
                self._count()
                self.results[cell.identity] = self._train(source, cell)
                # Between the store and the study.
                self._count()
            source.tell(cell, self.results[cell.identity])
        return source

    def _train(self, source: SweepSource, cell: Cell) -> Result:
        self.trained.append(cell.name)
        status = self.statuses(cell)
        if status != "done":
            return Result(status, "for a reason")  # type: ignore[arg-type]
        for step in range(10, STEPS + 1, 10):
            self._count()
            value = self.value(cell.config) + 1 / step
            if source.prunes and not source.wants(cell, step, value):
                return Result("pruned", f"pruned at step {step}", {"steps": step})
        return Result("done", None, {"loss": self.value(cell.config), "steps": STEPS, "score_step": STEPS})

    def _count(self) -> None:
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise Killed


def rows(source: SweepSource) -> list[tuple[Any, ...]]:
    """What a sweep holds of each trial, but for times."""
    return [
        (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values)
        for trial in source.study.get_trials(deepcopy=False)
    ]


def killed_often(folder: Path, sweep: Sweep, *, every: int) -> Iterator[Executor]:
    """Runs a sweep that is killed after `every` calls, again and again until it ends; yields each supervisor."""
    folder.mkdir()
    results: dict[str, Result] = {}
    for _ in itertools.count():
        executor = Executor(folder, calls_left=every, results=results)
        yield executor
        try:
            executor.run(sweep)
        except Killed:
            continue
        return


def values(study: optuna.Study, key: str) -> list[Any]:
    """Returns a parameter of each trial that has it."""
    return [trial.params[key] for trial in study.get_trials(deepcopy=False) if key in trial.params]
