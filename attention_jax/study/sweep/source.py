"""The cells of a sweep: Optuna is asked for trials and told what became of them, then the best run on fresh seeds.

All that a sweep knows is in the study's database, so that another process goes on where one was killed: a trial that
was open is the same cell again. Nothing here trains; the supervisor alone asks and tells.
"""

import math
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell, Result, Status, cell_name
from attention_jax.study.search import parameters
from attention_jax.study.search.samplers import NO_PRUNER, quasi_random
from attention_jax.study.search.space import Point, Points, described
from attention_jax.study.sweep.plan import OF_OUTCOME, Sweep, result_of


class SweepSource:
    """The cells of a sweep, in the order in which they can be run."""

    eager = False

    def __init__(
        self,
        study: optuna.Study,
        sweep: Sweep,
        *,
        objective: Callable[[Cell, Result], float | None],
        announce: Callable[[str], None] = print,
    ):
        """Goes on from what a study holds.

        Args:
          study: with the sampler and the pruner of the sweep.
          sweep: what is searched.
          objective: the value of a cell that is done, on the validation split; None where it left none.
          announce: takes a line on a trial that cannot be run.
        """
        self.study, self.sweep = study, sweep
        self.prunes = sweep.pruner != NO_PRUNER
        # The value of each of the best with each fresh seed, and what became of it.
        self.finals: dict[tuple[int, int], tuple[float | None, Result]] = {}
        self._objective, self._announce = objective, announce
        self._handed: dict[str, int] = {}
        self._final_cells: dict[str, tuple[int, int]] = {}
        # Trials of a config that another one is training.
        self._twins: dict[int, list[int]] = {}

    def ask(self) -> Cell | None:
        """Returns the next cell; None when there is none before another is told."""
        while (trial := self._next_trial()) is not None:
            cell = self._cell(trial)
            if cell is not None:
                return cell
        return None if self._open() else self._next_final()

    def tell(self, cell: Cell, result: Result) -> None:
        """Writes down what became of a cell."""
        if cell.name in self._final_cells:
            value = self._objective(cell, result) if result.status == "done" else None
            self.finals[self._final_cells[cell.name]] = (value, result)
            return
        number = self._handed[cell.name]
        value = self._objective(cell, result) if result.status == "done" else None
        for one in [number, *self._twins.pop(number, [])]:
            self._finish(one, result, value)

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        """Returns whether a trial goes on after an evaluation.

        The decision is written before the value is: a value that is there was decided on, however often the trial was
        killed since.
        """
        if cell.name in self._final_cells:
            return True
        trial = self._trial(self._handed[cell.name])
        if step in trial.intermediate_values or trial.state.is_finished():
            return step < trial.user_attrs.get("pruned_at", math.inf)
        reported = _with_value(trial, step, value)
        goes_on = not self.study.pruner.prune(self.study, reported)
        open_trial = Trial(self.study, trial._trial_id)
        if not goes_on:
            open_trial.set_user_attr("pruned_at", step)
        open_trial.report(value, step)
        return goes_on

    @property
    def exhausted(self) -> bool:
        """Whether every trial and every fresh seed was asked for."""
        if self._left() or self._open():
            return False
        return len(self._final_cells) == len(self.finalists()) * len(self.sweep.seeds)

    def finalists(self, count: int | None = None) -> list[FrozenTrial]:
        """Returns the best trials that ran to their end, the best first, each point once.

        Args:
          count: how many; None is as many as run again.
        """
        sign = -1 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        done = [(sign * float(trial.value or 0), trial.number, trial) for trial in self._trials() if _is_done(trial)]
        distinct: dict[str, FrozenTrial] = {}
        for _, _, trial in sorted(done):
            distinct.setdefault(trial.user_attrs["cell"], trial)
        return list(distinct.values())[: self.sweep.best if count is None else count]

    def point(self, trial: FrozenTrial) -> Point:
        """Returns the keys that a trial set, with their values."""
        space = self.sweep.space
        if isinstance(space, Points):
            return next(point for point in space.points if parameters.labels(point) == trial.params)
        return parameters.point_of(space, parameters.from_known(trial.params))

    def _next_trial(self) -> Trial | None:
        """An open trial that nobody here has, or a new one."""
        handed = {*self._handed.values(), *(number for twins in self._twins.values() for number in twins)}
        for trial in self._trials():
            if trial.state == TrialState.RUNNING and trial.number not in handed:
                return Trial(self.study, trial._trial_id)
        if not self._left():
            return None
        if not any(trial.state == TrialState.WAITING for trial in self._trials()):
            self._put_in()
        return self.study.ask()

    def _left(self) -> bool:
        """Whether a trial is yet to be begun."""
        trials = self._trials()
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        return waiting or sum("again" not in trial.user_attrs for trial in trials) < self.sweep.trials

    def _put_in(self) -> None:
        """Puts the next point into the study where it is known without having Optuna choose."""
        trials, space = self._trials(), self.sweep.space
        if isinstance(space, Points):
            taken = [trial.user_attrs["point"] for trial in trials]
            point = next(labels for labels in map(parameters.labels, space.points) if labels not in taken)
        elif self.sweep.sampler == "quasi_random":
            place = sum("again" not in trial.user_attrs for trial in trials)
            point = quasi_random(parameters.distributions(space), place, seed=self.sweep.seed)
        else:
            return
        self.study.enqueue_trial(point, user_attrs={"point": point})

    def _cell(self, trial: Trial) -> Cell | None:
        """The cell of a trial; None for one that cannot be one, or that is one that there was."""
        try:
            point = self._chosen(trial)
            config = self.sweep.base.config(point)
        except Refused as refusal:
            self._finish(trial.number, Result("refused", str(refusal)), None)
            return None
        # One that runs again goes on in its folder.
        folder = trial.user_attrs.get("again", trial.number)
        title = f"trial {trial.number} ({described(point)})"
        cell = Cell(cell_name(f"trial-{folder:04d}"), config, {"trial": trial.number, **point}, title, tested=False)
        trial.set_user_attr("cell", cell.identity)
        if self._is_twin(trial, cell):
            return None
        self._handed[cell.name] = trial.number
        return cell

    def _chosen(self, trial: Trial) -> Point:
        space, choose = self.sweep.space, parameters.from_trial(trial)
        if not isinstance(space, Points):
            return parameters.point_of(space, choose)
        planned, known = trial.user_attrs["point"], parameters.distributions(space)
        for key in planned:
            choose(key, known[key])
        return next(point for point in space.points if parameters.labels(point) == planned)

    def _is_twin(self, trial: Trial, cell: Cell) -> bool:
        """Ends a trial whose config was trained, or has it wait for the one that trains it."""
        for other in self._trials():
            same = other.user_attrs.get("cell") == cell.identity and other.number < trial.number
            if not same or trial.user_attrs.get("again") == other.number:
                continue
            if other.state == TrialState.RUNNING:
                self._twins.setdefault(other.number, []).append(trial.number)
                return True
            if other.state in (TrialState.COMPLETE, TrialState.PRUNED):
                trial.set_user_attr("same_as", other.number)
                before = result_of(other)
                outcome = {name: before.get(name) for name in OF_OUTCOME}
                if other.state == TrialState.PRUNED and other.last_step is not None:
                    trial.report(other.intermediate_values[other.last_step], other.last_step)
                status: Status = "done" if other.state == TrialState.COMPLETE else "pruned"
                self._finish(trial.number, Result(status, before["reason"], outcome), other.value)
                return True
        return False

    def _finish(self, number: int, result: Result, value: float | None) -> None:
        status, reason = result.status, result.reason
        if status == "done" and (value is None or not math.isfinite(value)):
            status, reason = "failed", f"its value on the validation split is {value}"
        trial = self._trial(number)
        if trial.state.is_finished():
            return
        kept = {name: result.outcome[name] for name in OF_OUTCOME if result.outcome.get(name) is not None}
        # One attribute, since each is a transaction.
        Trial(self.study, trial._trial_id).set_user_attr("result", {"status": status, "reason": reason, **kept})
        states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        state = states.get(status, TrialState.FAIL)
        self.study.tell(number, value if state == TrialState.COMPLETE else None, state=state)
        self._say(number, status, reason, value)

    def _say(self, number: int, status: Status, reason: str | None, value: float | None) -> None:
        """Says how a trial ended, and what is the best: lines about cells know only the score of their outcome."""
        if status != "done":
            self._announce(f"trial {number}: {status}: {reason}")
            return
        (best,) = self.finalists(1)
        said = (
            "the best so far" if best.number == number else f"the best so far is {best.value:.4g}, trial {best.number}"
        )
        self._announce(f"trial {number}: {self.sweep.metric} {value:.4g}, {said}")

    def _next_final(self) -> Cell | None:
        if self._left():
            return None
        for trial in self.finalists():
            for seed in self.sweep.seeds:
                name = final_name(trial.number, seed)
                if name not in self._final_cells:
                    self._final_cells[name] = (trial.number, seed)
                    point = self.point(trial)
                    config = {**self.sweep.base.config(point), "seed": seed}
                    title = f"trial {trial.number} again, seed {seed}"
                    return Cell(name, config, {"trial": trial.number, "seed": seed, **point}, title)
        return None

    def _open(self) -> bool:
        return any(trial.state == TrialState.RUNNING for trial in self._trials())

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _trial(self, number: int) -> FrozenTrial:
        return next(trial for trial in self._trials() if trial.number == number)


def final_name(trial: int, seed: int) -> str:
    """Returns the name of the cell that runs one of the best trials again."""
    return cell_name("best", f"trial-{trial:04d}", f"seed-{seed}")


def _is_done(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE


def _with_value(trial: FrozenTrial, step: int, value: float) -> FrozenTrial:
    copied = optuna.trial.create_trial(
        state=trial.state,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values={**trial.intermediate_values, step: value},
    )
    copied.number = trial.number
    return copied


def put_back(study: optuna.Study, *, status: str, say: Callable[[str], None]) -> None:
    """Puts the points of trials into the study once more (`--retry`).

    Args:
      study: of the sweep.
      status: of those trials: "failed" or "refused".
      say: takes a line for each.
    """
    trials = study.get_trials(deepcopy=False)
    tried = {trial.user_attrs.get("again") for trial in trials}
    for trial in trials:
        result = result_of(trial)
        if trial.state == TrialState.FAIL and result["status"] == status and trial.number not in tried:
            say(f"trial {trial.number} was {status} ({result['reason']}): it runs again")
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number, "point": trial.params})
