"""The one training loop: of one run, or of several whose steps are taken together."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import jax

from attention_jax.training.experiment import Cost, Experiment
from attention_jax.training.given import given
from attention_jax.training.parallel import hosts
from attention_jax.training.parallel.sharding import one_step_at_a_time
from attention_jax.training.run.interrupt import Interrupted, Notice, noticed
from attention_jax.training.run.outcome import Outcome
from attention_jax.training.run.profiling import Profile
from attention_jax.training.run.progress import Progress
from attention_jax.training.run.watch import Pulse
from attention_jax.training.running import Run, opened, write_outcome

# Of a run: the metrics of its last step, its first bad step, how many were skipped.
Told = tuple[dict[str, Any], int, int]


class Steps(Protocol):
    """How the steps of runs are taken and their states measured, in the order of the runs; all are at one step.

    Attributes:
      cost: of compiling a step.
      members: how many runs there are.
    """

    cost: Cost
    members: int

    def take(self) -> None:
        """Takes a step of every run."""

    def told(self) -> list[Told]:
        """Returns what the last step gave, once it is done."""

    def measure(self, splits: tuple[str, ...], *, notice: Notice) -> list[dict[str, float]]:
        """Returns the measures of each run's state."""


class Alone:
    """The steps of one run."""

    members = 1

    def __init__(self, run: Run):
        self._run, experiment = run, run.experiment
        _, self.cost = experiment.compiled_step
        self._rate = experiment.put_rate(run.given.learning_rate)
        self._state = run.state()
        self._metrics: dict[str, Any] = {}
        run.state = lambda: self._state

    def take(self) -> None:
        """Takes a step."""
        run, meter, profile = self._run, self._run.meter, self._run.profile
        if profile is not None:
            meter.leave_out(profile.before(run.step + 1, self._state))
        began = time.perf_counter()
        batch, tokens = next(run.batches)
        waited = time.perf_counter() - began
        if one_step_at_a_time(run.experiment.mesh):
            jax.block_until_ready(self._state)
        self._state, self._metrics = run.experiment.step_for(batch)(self._state, batch, self._rate)
        if run.pulse.knows_none:
            # So that there is a time to compare the others with.
            jax.block_until_ready(self._metrics)
            run.pulse.rest()
        run.step += 1
        meter.step(waited=waited, tokens=tokens, flops=run.experiment.flops_of(batch).count)
        if profile is not None:
            meter.leave_out(profile.after(run.step, self._state))

    def told(self) -> list[Told]:
        """Returns what the last step gave."""
        values, bad_step, skipped = jax.device_get((self._metrics, self._state.bad_step, self._state.skipped))
        return [(values, int(bad_step), int(skipped))]

    def measure(self, splits: tuple[str, ...], *, notice: Notice) -> list[dict[str, float]]:
        """Returns the measures of the state."""
        return [self._run.measure(self._state, splits, notice=notice)]


def go(runs: Sequence[Run], steps: Steps, *, notice: Notice, pulse: Pulse) -> None:
    """Takes runs to their last step, or to where no more patience is left; one that fails says so, and stops alone.

    Args:
      runs: all at one step.
      steps: takes their steps.
      notice: whether a signal has come.
      pulse: told of each step.

    Raises:
      Interrupted: a signal came.
    """
    # What is due after the step that was restored may not have been done when the run was stopped.
    _evaluate_if_due(runs, steps, notice)
    _start(runs)
    while going := [run for run in _going(runs) if not run.ended]:
        pulse.begin(going[0].step + 1)
        for run in going:
            run.alive()
        steps.take()
        # A signal to one of several processes waits for the next cadence, which they come to together.
        noticed_now = notice.signum is not None and jax.process_count() == 1
        if not (noticed_now or going[0].pause_due()):
            continue
        # Dispatched steps are done when their results are here.
        told = steps.told()
        for run in runs:
            run.meter.stop()
        pulse.rest()
        for run, (values, bad_step, skipped) in zip(runs, told, strict=True):
            if run.failure is None:
                with run.failing():
                    run.record(values, bad_step=bad_step, skipped=skipped)
        _evaluate_if_due(runs, steps, notice)
        for run in _going(runs):
            with run.failing():
                run.save_if_due()
        if signum := hosts.largest(notice.signum or 0):
            raise Interrupted("interrupted", signum)
        _start(runs)


def train(
    experiment: Experiment,
    workdir: Path,
    *,
    seed: int | None = None,
    learning_rate: float | None = None,
    progress: Progress | None = None,
    profile: range | None = None,
    tested: bool = True,
) -> Outcome:
    """Trains to the last step, or to where no patience is left, from the last checkpoint in the folder if there is one.

    The same command on the same machine leaves the same losses, bit for bit, however often it was killed. On another
    mesh it goes on too, says what changed, and leaves the same losses but for rounding.

    A checkpoint that cannot be saved (the disk is full, its folder was deleted) is said, with the reason and what is
    kept, and the run goes on: the next that is due is tried. If it is the last one, at the end or after a signal, the
    run has failed. So it has when its losses cannot be written.

    Args:
      experiment: what to train.
      workdir: the folder of the run: `config.json`, `metrics.jsonl`, `checkpoints/`, `tensorboard/`, `outcome.json`.
      seed: in place of the config's, 0 to 2^32 - 1.
      learning_rate: in place of the config's.
      progress: told what happens.
      profile: steps, counted from 1, that are traced into `profile/`.
      tested: whether the run is scored on the test split, where there is one; else that is not evaluated, and the score
        is of the validation split.

    Raises:
      Refused: the seed or the rate is out of its range, and nothing is written; or the folder cannot be written, holds
        the run of another config, or is being trained in.
      RunFailed: the loss is no longer finite or spikes, as often as the config forbids, or the losses or the last
        checkpoint cannot be written.
      Interrupted: a signal came; the run was saved first.
    """
    this = given(experiment, workdir, seed=seed, learning_rate=learning_rate, progress=progress, tested=tested)
    pulse = Pulse(one_at_a_time=one_step_at_a_time(experiment.mesh))
    with ExitStack() as held, noticed(pulse, this.progress.say) as notice:
        run = opened(experiment, this, held=held, pulse=pulse)
        if profile is not None and hosts.is_first():
            run.profile = Profile(profile, workdir / "profile", after_step=run.step, say=this.progress.say)
        try:
            steps = Alone(run)
            go([run], steps, notice=notice, pulse=pulse)
            outcome = run.finish(steps.cost, members=1, notice=notice)
        except Interrupted:
            run.save(last=True)
            raise
        finally:
            run.close()
    write_outcome(workdir, outcome)
    return outcome


def _start(runs: Sequence[Run]) -> None:
    for run in runs:
        run.meter.start()


def _evaluate_if_due(runs: Sequence[Run], steps: Steps, notice: Notice) -> None:
    """Evaluates runs where it is due, of which those that go on agree, and has each decide whether it has ended."""
    splits = max((run.splits_due() for run in _going(runs)), key=len, default=())
    measured = steps.measure(splits, notice=notice) if splits else [{}] * len(runs)
    for run, measures in zip(runs, measured, strict=True):
        if run.failure is None:
            with run.failing():
                # Of members some may not be scored on the test split.
                if mine := tuple(f"{split}_" for split in run.splits_due()):
                    run.evaluated({name: value for name, value in measures.items() if name.startswith(mine)})
                run.settle()


def _going(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.failure is None]
