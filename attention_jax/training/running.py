"""One run in its folder: where it is, and what it does between two steps."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from attention_jax import models
from attention_jax.base.formatting import readable_rate
from attention_jax.data import Ahead, train_batches
from attention_jax.training.checkpoints import Checkpoints, NotSaved, has_checkpoint
from attention_jax.training.collecting import scores_of
from attention_jax.training.evaluations import describe, evaluate, evaluate_slices, history
from attention_jax.training.experiment import Cost, Experiment
from attention_jax.training.flops import peak_flops
from attention_jax.training.given import Given
from attention_jax.training.parallel import hosts
from attention_jax.training.run.interrupt import Notice
from attention_jax.training.run.meter import Meter, Window, tokens_of
from attention_jax.training.run.outcome import Outcome, RunFailed
from attention_jax.training.run.profiling import Profile
from attention_jax.training.run.wandb_run import WandbRun
from attention_jax.training.run.watch import Pulse
from attention_jax.training.run.workdir import (
    MetricsLog,
    claim,
    locked,
    usable,
    write_atomically,
    write_config,
    written,
)
from attention_jax.training.stability import check_stable, skipped_line
from attention_jax.training.state import TrainState

# How many batches wait on a device that has a memory of its own.
_BATCHES_AHEAD = 2


class Run:
    """One run in its folder; whoever takes its steps tells it of them.

    Attributes:
      state: gives the state after the last step; whoever takes steps puts another function in its place.
      step: updates done.
      saved: the step of the last checkpoint; less than 0 where there is none.
      ended: whether no step is to follow.
      tested: whether it is scored on a test split.
      failure: why it goes no further, where it does not.
    """

    def __init__(
        self,
        experiment: Experiment,
        given: Given,
        *,
        weights: Callable[[], dict[str, np.ndarray]],
        pulse: Pulse,
        placed: bool,
    ):
        """Opens its files, where the last checkpoint left them; `opened` does what comes before.

        Args:
          experiment: what is trained.
          given: which run of it.
          weights: gives what it starts from where `config.init` names something and it has no checkpoint.
          pulse: told of checkpoints.
          placed: whether its batches are put on the devices as they come.
        """
        self.experiment, self.given, self.progress, self.pulse = experiment, given, given.progress, pulse
        self.tested = given.tested and "test" in experiment.dataset.splits
        # Without a test split there may be others that the end of a run reports on.
        self._final_splits = experiment.final_splits if given.tested else ("validation",)
        self.checkpoints = Checkpoints(given.workdir, keep=experiment.checkpoint.keep, say=self.progress.say)
        for note in experiment.dataset.notes:
            self.progress.say(note)
        state = experiment.create_state(given.seed)
        self.batches = _batches(experiment, given.seed, placed=placed)
        self.step, self.saved, self.ended = 0, -1, False
        self.failure: RunFailed | None = None
        self.meter = Meter()
        self.profile: Profile | None = None
        restored = self.checkpoints.restore(state)
        if restored is None and experiment.init.is_given:
            state = experiment.started_from(state, weights())
            self.progress.say(f"starting from the weights of {experiment.init.source or experiment.init.vectors}")
        if restored is not None:
            self.step = self.saved = pulse.step = pulse.saved = restored.step
            state = restored.state
            self.batches.set_state(restored.beside["batches"])
            self.meter.windows = [Window(*window) for window in restored.beside["windows"]]
            self.progress.say(f"resuming from the checkpoint of step {self.step}")
        self.state: Callable[[], TrainState] = lambda: state
        wandb = partial(WandbRun, given.workdir, given.config, say=self.progress.say) if experiment.log.wandb else None
        self.log = hosts.in_turn(
            lambda: MetricsLog(
                given.workdir,
                after_step=self.step,
                tensorboard=experiment.log.tensorboard,
                writes=hosts.is_first(),
                wandb=wandb and (lambda lines: wandb(lines=lines)),
            )
        )
        self.history = history(experiment.task, self.log.lines)
        self.said_skipped = int(state.skipped)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Keeps the failure of what is within, so that it is the end of this run and of no other."""
        try:
            yield
        except RunFailed as failure:
            self.failure = failure

    def pause_due(self) -> bool:
        """Returns whether something is to be done before the next step."""
        experiment = self.experiment
        return any(map(self._due, (experiment.log.every, experiment.evaluation.every, experiment.checkpoint.every)))

    def record(self, values: dict[str, Any], *, bad_step: int, skipped: int) -> None:
        """Takes what the steps since the last pause gave.

        Args:
          values: the metrics of the last of them.
          bad_step: the first step that went wrong; -1 for none.
          skipped: how many such were passed over.

        Raises:
          RunFailed: it is to go no further, or its losses cannot be written.
        """
        experiment = self.experiment
        values = {name: float(value) for name, value in values.items()}
        if experiment.instability.action == "skip":
            values["skipped"] = skipped
        if self._due(experiment.log.every):
            self.log.write(self.step, values)
        told = {"step": self.step, "bad_step": bad_step, "skipped": skipped}
        check_stable(experiment.instability, values=values, kept=lambda: self.checkpoints.kept, **told)
        if skipped > 0 and skipped >= 2 * self.said_skipped:
            self.progress.say(skipped_line(experiment.instability, **told))
            self.said_skipped = skipped
        window = self.meter.windows[-1]
        self.progress.update(
            step=self.step,
            steps=experiment.steps,
            rate=window.steps / window.seconds,
            values={"loss": values["train_loss"]},
            beside=readable_rate(window.tokens / window.seconds, "tokens/s") if window.tokens else "",
        )

    def splits_due(self) -> tuple[str, ...]:
        """Returns the splits that are to be evaluated now."""
        last = self.step == self.experiment.steps
        if not self._due(self.experiment.evaluation.every) or self.step in {0, *self.history.values}:
            return ()
        # Of the best parameters it is known at the end alone.
        return self._final_splits if last and not self.experiment.checkpoint.best else ("validation",)

    def evaluated(self, measures: dict[str, float]) -> None:
        """Takes the measures of the state after the last step."""
        self.log.write(self.step, measures)
        self.history.values[self.step] = measures[self.history.metric]
        self.progress.note(f"step {self.step}/{self.experiment.steps}  {describe(measures)}")
        self.progress.measured(self.step, measures)

    def settle(self) -> None:
        """Decides whether it has ended, by what is on record, so that one that was killed ends where it would have."""
        history, evaluation = self.history, self.experiment.evaluation
        last, reached = self.step == self.experiment.steps, history.reached(evaluation.target)
        self.ended = last or reached or 0 < evaluation.patience <= history.stale
        if last or not self.ended or (best := history.best()) is None:
            return
        value = f"{history.values[best]:.6g}"
        if reached:
            why = f"is {value}, as good as evaluation.target={evaluation.target}"
        else:
            why = f"was not better than the {value} of step {best} in {history.stale} evaluations (evaluation.patience)"
        self.progress.say(f"{history.metric} {why}: the run ends at step {self.step}")

    def measure(self, state: TrainState, splits: tuple[str, ...], *, notice: Notice) -> dict[str, float]:
        """Returns the measures of a state, looking at the notice between batches."""
        return evaluate(self.experiment, state, splits, notice=notice, alive=self.alive)

    def alive(self) -> None:
        """Tells that something has gone on."""
        self.progress.alive(self.step)

    def save_if_due(self) -> None:
        """Saves a checkpoint where one is due; raises as `save` does."""
        is_best = self.experiment.checkpoint.best and self.step in self.history.values and self._best() == self.step
        if is_best or self._due(self.experiment.checkpoint.every):
            self.save(last=self.step == self.experiment.steps)

    def save(self, *, last: bool = False) -> None:
        """Saves a checkpoint of where the run is, unless there is one, or says why it cannot be saved.

        Args:
          last: whether no later one will do in its place.

        Raises:
          RunFailed: the last one cannot be saved.
        """
        if self.saved == self.step:
            return
        beside = {"batches": self.batches.get_state(), "windows": self.meter.windows}
        keep_also = [self._best()] if self.experiment.checkpoint.best and self.history.values else []
        try:
            self.checkpoints.save(self.step, self.state(), beside, keep_also=keep_also)
        except NotSaved as failure:
            said = f"checkpoint of step {self.step} could not be saved ({failure}); {self.checkpoints.kept}"
            if last:
                raise RunFailed(f"{said}. Once there is room, the same command goes on from there.") from failure
            self.progress.say(f"{said} and the run goes on")
        else:
            self.saved = self.pulse.saved = self.step

    def finish(self, cost: Cost, *, members: int, notice: Notice) -> Outcome:
        """Saves and scores the state after the last step, and returns what becomes `outcome.json`.

        Args:
          cost: of compiling its step.
          members: how many runs took each of its steps together.
          notice: looked at where the test split is yet to be evaluated.

        Raises:
          RunFailed: it has failed, or the last checkpoint cannot be saved.
          Interrupted: the notice says so.
        """
        if self.failure is not None:
            raise self.failure
        self.save(last=True)
        experiment, meter = self.experiment, self.meter
        score, score_step = self._score(notice)
        self._collect(score_step, notice)
        peak = peak_flops(list(experiment.mesh.devices.flat))
        return Outcome(
            metric=self._score_name,
            score=score,
            score_step=score_step,
            steps=self.step,
            skipped=int(self.state().skipped),
            parameters=experiment.parameters,
            train_seconds=meter.seconds,
            compile_seconds=cost.compile_seconds,
            ms_per_step=meter.ms_per_step,
            ms_per_step_spread=meter.ms_per_step_spread,
            examples_per_second=experiment.batch_size * meter.steps_per_second,
            tokens_per_second=meter.tokens_per_second,
            flops_per_step=meter.flops_per_step,
            flops_complete=all(experiment.flops_of(batch).complete for batch in experiment.abstract_batches),
            mfu=None if peak is None else members * meter.flops_per_second / peak,
            input_share=meter.input_share,
            peak_bytes=cost.peak_bytes,
            decode_bytes=models.decode_bytes(experiment.model),
            slices=self._slices(score_step, notice),
        )

    def close(self) -> None:
        """Closes the files of the run, and ends its line on the terminal."""
        self.progress.clear()
        self.checkpoints.close()
        self.log.close()
        if self.profile is not None:
            self.profile.close(self.step)

    @property
    def _score_name(self) -> str:
        """The measure that decides, on the split that this run is scored on."""
        return self.experiment.score_name if self.tested else self.history.metric

    def _score(self, notice: Notice) -> tuple[float, int]:
        """The score and the step whose parameters have it; evaluates the splits of the end that are yet to be."""
        splits = tuple(split for split in self._final_splits if split != "validation")
        names = {f"{split}_loss" for split in splits}
        lines = [line for line in self.log.lines if line["step"] == self.step and names <= line.keys()]
        if splits and lines:
            measures, step = lines[-1], lines[-1].get("best_step", self.step)
        else:
            step = self._scored_step()
            measures = self._at_the_end(step, splits, notice) if splits else {}
        return float(measures[self._score_name]) if self.tested else self.history.values[step], step

    def _scored_step(self) -> int:
        """The step whose parameters are scored: the last, or the best whose checkpoint is there."""
        if not self.experiment.checkpoint.best:
            return self.step
        step, best = self._best(), self.history.best()
        if step != best:
            self.progress.say(f"the checkpoint of step {best}, the best, is not there: the score is of step {step}")
        return step

    def _at_the_end(self, step: int, splits: tuple[str, ...], notice: Notice) -> dict[str, float]:
        """Records the measures of splits with the parameters of a step, and returns them."""
        measures = self.measure(self._state_of(step), splits, notice=notice)
        best = {"best_step": step} if self.experiment.checkpoint.best else {}
        self.log.write(self.step, {**best, **measures})
        self.progress.note(f"step {step}/{self.experiment.steps}  {describe(measures)}")
        return measures

    def _collect(self, step: int, notice: Notice) -> None:
        """Records the scores of the task with the parameters of a step, unless evaluations have recorded them."""
        experiment = self.experiment
        names = {f"{split}_{name}" for split in self._final_splits for name in experiment.task.scores}
        if experiment.collects or not names or any(names <= line.keys() for line in self.log.lines):
            return
        scores = scores_of(experiment, self._state_of(step), self._final_splits, notice=notice, alive=self.alive)
        self.log.write(self.step, {**({"best_step": step} if experiment.checkpoint.best else {}), **scores})
        self.progress.note(f"step {self.step}/{experiment.steps}  {describe(scores)}")

    def _slices(self, step: int, notice: Notice) -> dict[str, float] | None:
        """The score in each slice, with the parameters of a step; evaluates them if that is yet to do."""
        experiment, name = self.experiment, self._score_name
        # Slices are of the split that is reported: of a run that is not, there are none.
        if not experiment.task.slices or name != experiment.score_name:
            return None
        lines = [line for line in self.log.lines if any(key.startswith(f"{name}[") for key in line)]
        if lines:
            return {key[len(name) + 1 : -1]: float(value) for key, value in lines[-1].items() if key != "step"}
        found = evaluate_slices(experiment, self._state_of(step), notice=notice, alive=self.alive)
        named = {f"{name}[{label}]": value for label, value in found.items()}
        self.log.write(self.step, named)
        self.progress.note(f"step {self.step}/{experiment.steps}  {describe(named)}")
        return found

    def _best(self) -> int:
        """The step of the best evaluation whose state is there: a checkpoint may not have been saved, or be damaged."""
        mine = self.history.best({*self.checkpoints.steps(), self.step}) if hosts.is_first() else 0
        return hosts.largest(self.step if mine is None else mine)

    def _state_of(self, step: int) -> TrainState:
        if step == self.step:
            return self.state()
        restored = self.checkpoints.restore(self.state(), step=step)
        assert restored is not None
        return restored.state

    def _due(self, every: int) -> bool:
        return self.step == self.experiment.steps or (every > 0 and self.step % every == 0)


def starts_from_weights(experiment: Experiment, workdir: Path) -> bool:
    """Returns whether a run in a folder reads what `config.init` names: it does, and there is no checkpoint."""
    return experiment.init.is_given and not has_checkpoint(workdir)


def opened(experiment: Experiment, given: Given, *, held: ExitStack, pulse: Pulse, placed: bool = True) -> Run:
    """Makes the folder of a run, or takes it where it is this run's, holds it, and returns the run.

    Args:
      experiment: what is trained.
      given: which run of it.
      held: what lets go of the folder when it ends.
      pulse: told of checkpoints.
      placed: whether batches are put on the devices as they come.

    Raises:
      Refused: the folder cannot be written, holds the run of another config, or is being trained in; or it is new and
        the weights that it is to start from cannot be read or do not fit the model.
      RunFailed: its files could not be written.
    """
    weights = cache(lambda: experiment.weights(say=given.progress.say))
    # Before there is a folder: a mistake in the section is not kept in it.
    if starts_from_weights(experiment, given.workdir):
        weights()
    changed: list[str] = []
    hosts.first_does(lambda: changed.extend(claim(given.workdir, given.config)))
    hosts.first_does(lambda: held.enter_context(locked(given.workdir)))
    if changed:
        given.progress.say(f"going on with {'; '.join(changed)}")
    with usable(given.workdir):
        hosts.first_does(lambda: write_config(given.workdir, given.config))
    return Run(experiment, given, weights=weights, pulse=pulse, placed=placed)


def write_outcome(workdir: Path, outcome: Outcome) -> None:
    """Writes `outcome.json`; raises RunFailed where it cannot."""
    text = json.dumps(asdict(outcome), indent=2) + "\n"
    with written(workdir / "outcome.json"):
        hosts.first_does(lambda: write_atomically(workdir / "outcome.json", text))


def _batches(experiment: Experiment, seed: int, *, placed: bool) -> Ahead:
    """Batches, on the devices if `placed`, each with its number of tokens."""
    rows, reads = experiment.rows(experiment.batch_size), experiment.model.reads
    processes = experiment.batch_size // (rows.stop - rows.start)
    batches = train_batches(experiment.dataset.splits["train"], batch_size=experiment.batch_size, seed=seed, rows=rows)

    def put(batch: dict[str, Any]) -> tuple[dict[str, Any], int]:
        return experiment.put(batch) if placed else batch, processes * tokens_of(batch, reads)

    # On a CPU there is no other memory to copy to, and one step at a time.
    waits = placed and experiment.mesh.devices.flat[0].platform != "cpu"
    return Ahead(batches, put, depth=_BATCHES_AHEAD if waits else 0)
