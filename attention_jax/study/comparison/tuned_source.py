"""A comparison whose variants are tuned first: the cells of every search, then those of the best point of each.

Every variant gets the same budget on every benchmark. The trials of a search are trained with a seed that is none of
the reported ones and scored on the validation split; the test split is not evaluated. The best point is then trained
with the seeds of the plan, and these runs alone are results.
"""

import copy
import dataclasses
import functools
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan, Trial, point_name
from attention_jax.study.comparison.results import Result, unfinished
from attention_jax.study.comparison.source import Lines, Point, line_of, of_line, trial_cell
from attention_jax.study.comparison.tuning import Tried, Tuned, search_seed
from attention_jax.study.comparison.tuning_plan import Tuning
from attention_jax.study.engine.cells import Cell, cell_name, check_distinct
from attention_jax.study.engine.cells import Result as CellResult
from attention_jax.study.search.space import described
from attention_jax.training.run.workdir import read_lines, write_atomically

Pair = tuple[str, str]  # benchmark, variant


class ConfigOf(Protocol):
    """What makes the config of a run, as `Variation.config_of`."""

    def __call__(self, benchmark: str, label: str, seed: int, point: Point | None = None) -> dict[str, Any]: ...


class TunedComparison:
    """The cells of a plan whose variants are tuned; the lines of `results.jsonl` and of `tuning.jsonl`.

    Cells of all searches are handed out first-come, the search that has begun the fewest trials first, and the final
    ones of a pair as soon as its search is complete. Which they are does not depend on the order of finishing.
    """

    eager, prunes = False, False

    def __init__(self, plan: Plan, tuning: Tuning, config_of: ConfigOf, workdir: Path):
        """Begins every search; writes nothing.

        Args:
          plan: what is reported.
          tuning: the budget of each variant on each benchmark.
          config_of: (benchmark, variant, seed, point) -> the config that is trained, as of `Variation`.
          workdir: the folder of the comparison.

        Raises:
          Refused: two variants or benchmarks are the same, but for what is tuned.
        """
        self.plan = plan
        self._config_of, self._seed = config_of, search_seed(tuning.seed)
        self._rising = tuning.rising
        self._lines, self._path = Lines(workdir), workdir / "tuning.jsonl"
        pairs = [(benchmark, variant) for benchmark in plan.benchmarks for variant in plan.variants]
        self._searches = {pair: tuning.search(*pair) for pair in pairs}
        self._tried: dict[Pair, dict[str, Tried]] = {pair: {} for pair in pairs}
        # What each cell that was handed out is: a trial of a search, or of the plan, with its point.
        self._trials: dict[str, tuple[Pair, Point]] = {}
        self._finals: dict[str, tuple[Trial, Point]] = {}
        self._released: set[Pair] = set()
        self._ready: deque[Cell] = deque()
        check_distinct(self._untuned(pair, tuning.keys) for pair in pairs)

    def ask(self) -> Cell | None:
        """Returns the next cell; None when there is none before another is told."""
        for pair in sorted(self._searches, key=lambda pair: len(self._searches[pair].points)):
            while (point := self._searches[pair].ask()) is not None:
                cell = self._trial_cell(pair, point)
                if cell is not None:
                    return cell
        self._release()
        return self._ready.popleft() if self._ready else None

    def tell(self, cell: Cell, result: CellResult) -> None:
        """Writes down what became of a cell."""
        if cell.name in self._finals:
            trial, point = self._finals[cell.name]
            self._lines.add(line_of(trial, result, point))
        else:
            self._finish(*self._trials[cell.name], cell.config["seed"], result)

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        """Returns True: no variant is ended for what another has."""
        return True

    @property
    def exhausted(self) -> bool:
        """Whether every trial of every search has ended, and every final cell was asked for."""
        return len(self._released) == len(self._searches) and not self._ready

    def had(self) -> dict[Cell, CellResult]:
        """Reads results.jsonl, and returns the results of the plan's trials in it, each of the point that it says.

        Raises:
          Refused: a line is not a result.
        """
        there = self._lines.read()
        found: dict[Cell, CellResult] = {}
        for trial in self.plan.trials():
            line = there.get(trial)
            if line is not None and line.point:
                try:
                    config = self._config_of(trial.benchmark, trial.variant, trial.seed, line.point)
                except Refused:
                    # Of a key that there is no more.
                    continue
                found[trial_cell(trial, config, line.point)] = of_line(line)
        return found

    def in_order(self) -> list[Result]:
        """Writes both files in the plan's order; returns the results that the plan has so far.

        A variant none of whose trials ran to its end has the reason of the first of them as its result for every seed.
        """
        wanted: dict[Trial, Point | None] = {}
        tuned = {(one.benchmark, one.variant): one for one in self.tuned()}
        for trial in self.plan.trials():
            pair = (trial.benchmark, trial.variant)
            chosen = tuned[pair].chosen
            wanted[trial] = {} if chosen is None else dict(chosen.point)
            if chosen is None and self._is_complete(pair):
                self._lines.add(_without_point(trial, tuned[pair]))
        self._write_trials(tuned)
        return self._lines.in_order(wanted)

    def tuned(self) -> list[Tuned]:
        """Returns every search, with the trials that have ended so far in the order in which they were asked for."""
        return [self._tuned(pair) for pair in self._searches]

    def _tuned(self, pair: Pair) -> Tuned:
        names = map(point_name, self._searches[pair].points)
        tried = tuple(self._tried[pair][name] for name in names if name in self._tried[pair])
        return Tuned(*pair, rising=self._rising[pair[0]], tried=tried)

    def _is_complete(self, pair: Pair) -> bool:
        return self._searches[pair].exhausted and len(self._tried[pair]) == len(self._searches[pair].points)

    def _trial_cell(self, pair: Pair, point: Point) -> Cell | None:
        """The cell of a trial; None for one whose config cannot be, which has ended."""
        try:
            config = self._config_of(*pair, self._seed, point)
        except Refused as refusal:
            self._finish(pair, point, self._seed, CellResult("refused", str(refusal)))
            return None
        name = cell_name(*pair, "search", point_name(point))
        self._trials[name] = (pair, point)
        labels = {"benchmark": pair[0], "variant": pair[1], "point": dict(point)}
        title = f"{pair[0]} / {pair[1]} / tuning ({described(point)})"
        return Cell(name, config, labels, title, tested=False)

    def _finish(self, pair: Pair, point: Point, seed: int, result: CellResult) -> None:
        done = result.status == "done"
        score = float(result.outcome["score"]) if done else None
        self._tried[pair][point_name(point)] = Tried(
            point=dict(point),
            seed=seed,
            status=result.status,
            reason=result.reason,
            metric=result.outcome["metric"] if done else None,
            score=score,
            steps=result.outcome["steps"] if done else None,
            log=result.facts.get("log"),
        )
        self._searches[pair].tell(dict(point), score)

    def _release(self) -> None:
        """Makes the final cells of each search that is complete, once."""
        for pair in self._searches:
            if pair not in self._released and self._is_complete(pair):
                self._released.add(pair)
                if (chosen := self._tuned(pair).chosen) is not None:
                    self._ready.extend(self._final_cell(Trial(*pair, seed), chosen.point) for seed in self.plan.seeds)

    def _final_cell(self, trial: Trial, point: Point) -> Cell:
        config = self._config_of(trial.benchmark, trial.variant, trial.seed, point)
        cell = trial_cell(trial, config, point)
        self._finals[cell.name] = (trial, point)
        return cell

    def _untuned(self, pair: Pair, keys: tuple[str, ...]) -> Cell:
        """The cell of a pair without the tuned keys: two that are one would train the same."""
        config = copy.deepcopy(self._config_of(*pair, self._seed))
        for key in keys:
            *sections, last = key.split(".")
            functools.reduce(dict.__getitem__, sections, config)[last] = None
        return Cell(cell_name(*pair), config)

    def _write_trials(self, tuned: Mapping[Pair, Tuned]) -> None:
        """Writes tuning.jsonl in the plan's order; the lines of other pairs stay, last."""
        lines = [
            {"benchmark": one.benchmark, "variant": one.variant, **asdict(trial), "chosen": trial is one.chosen}
            for one in tuned.values()
            for trial in one.tried
        ]
        if lines:
            foreign = [line for line in read_lines(self._path) if (line["benchmark"], line["variant"]) not in tuned]
            write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in (*lines, *foreign)))


def _without_point(trial: Trial, tuned: Tuned) -> Result:
    first = tuned.tried[0]
    status: Literal["refused", "failed"] = "refused" if first.status == "refused" else "failed"
    reason = str(first.reason)
    if status == "failed" or len({one.reason for one in tuned.tried}) > 1:
        reason = f"none of the {len(tuned.tried)} trials of its tuning ran to its end; the first: {reason}"
    return dataclasses.replace(unfinished(trial, status=status, reason=reason), point={})
