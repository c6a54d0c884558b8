"""The one training and evaluation loop."""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax

from attention_jax import models
from attention_jax.base.formatting import readable_rate
from attention_jax.data import Ahead, train_batches
from attention_jax.data.seeds import check_seed
from attention_jax.training import hosts
from attention_jax.training.checkpoints import Checkpoints, NotSaved
from attention_jax.training.evaluations import describe, evaluate, evaluate_slices, history
from attention_jax.training.experiment import Experiment
from attention_jax.training.flops import peak_flops
from attention_jax.training.interrupt import Interrupted, Notice, noticed
from attention_jax.training.meter import Meter, Window, tokens_of
from attention_jax.training.optimizer import check_learning_rate
from attention_jax.training.outcome import Outcome, RunFailed
from attention_jax.training.profiling import Profile
from attention_jax.training.progress import Progress
from attention_jax.training.sharding import one_step_at_a_time
from attention_jax.training.stability import check_stable, skipped_line
from attention_jax.training.state import TrainState
from attention_jax.training.wandb_run import WandbRun
from attention_jax.training.watch import Pulse
from attention_jax.training.workdir import MetricsLog, claim, locked, usable, write_atomically, write_config, written

# How many batches wait on a device that has a memory of its own.
_BATCHES_AHEAD = 2


class _Run:
    """One run in its folder: where it is, and what it does between two steps."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        *,
        seed: int,
        learning_rate: float,
        tested: bool,
        progress: Progress,
        notice: Notice,
        pulse: Pulse,
    ):
        self.experiment, self.progress, self.notice, self.pulse = experiment, progress, notice, pulse
        self.tested = tested and "test" in experiment.dataset.splits
        self.checkpoints = Checkpoints(workdir, keep=experiment.checkpoint.keep, say=progress.say)
        self.state = experiment.create_state(seed)
        self.learning_rate = experiment.put_rate(learning_rate)
        self.batches = _batches(experiment, seed)
        self.step, self.saved, self.ended = 0, -1, False
        self.metrics: dict[str, Any] = {}
        self.meter = Meter()
        self.profile: Profile | None = None
        restored = self.checkpoints.restore(self.state)
        if restored is not None:
            self.step = self.saved = pulse.step = pulse.saved = restored.step
            self.state = restored.state
            self.batches.set_state(restored.beside["batches"])
            self.meter.windows = [Window(*window) for window in restored.beside["windows"]]
            progress.say(f"resuming from the checkpoint of step {self.step}")
        shown = {**experiment.config, "seed": seed}
        wandb = partial(WandbRun, workdir, shown, say=progress.say) if experiment.log.wandb else None
        self.log = hosts.in_turn(
            lambda: MetricsLog(
                workdir,
                after_step=self.step,
                tensorboard=experiment.log.tensorboard,
                writes=hosts.is_first(),
                wandb=wandb and (lambda lines: wandb(lines=lines)),
            )
        )
        self.history = history(experiment.task, self.log.lines)
        self.said_skipped = int(self.state.skipped)

    def go(self) -> None:
        """Runs to the last step, or to where no more patience is left."""
        _ = self.experiment.compiled_step
        # What is due after the step that was restored may not have been done when the run was stopped.
        self._evaluate_if_due()
        self.meter.start()
        while not self.ended:
            self._take_step()
            if not self._pause_due():
                continue
            # Dispatched steps are done when their results are here.
            values, bad_step, skipped = jax.device_get((self.metrics, self.state.bad_step, self.state.skipped))
            self.meter.stop()
            self.pulse.rest()
            self._record(values, bad_step=int(bad_step), skipped=int(skipped))
            self._evaluate_if_due()
            self._save_if_due()
            if signum := hosts.largest(self.notice.signum or 0):
                raise Interrupted("interrupted", signum)
            self.meter.start()
        if self.step < self.experiment.steps and (best := self.history.best()) is not None:
            self.progress.say(
                f"{self.history.metric} was not better than the {self.history.values[best]:.6g} of step {best} in "
                f"{self.history.stale} evaluations (evaluation.patience): the run ends at step {self.step}"
            )

    def _take_step(self) -> None:
        experiment, meter = self.experiment, self.meter
        self.pulse.begin(self.step + 1)
        self.progress.alive(self.step)
        if self.profile is not None:
            meter.leave_out(self.profile.before(self.step + 1, self.state))
        began = time.perf_counter()
        batch, tokens = next(self.batches)
        waited = time.perf_counter() - began
        if one_step_at_a_time(experiment.mesh):
            jax.block_until_ready(self.state)
        self.state, self.metrics = experiment.step_for(batch)(self.state, batch, self.learning_rate)
        if self.pulse.knows_none:
            # So that there is a time to compare the others with.
            jax.block_until_ready(self.metrics)
            self.pulse.rest()
        self.step += 1
        meter.step(waited=waited, tokens=tokens, flops=experiment.flops_of(batch).count)
        if self.profile is not None:
            meter.leave_out(self.profile.after(self.step, self.state))

    @property
    def score_name(self) -> str:
        """The measure that decides, on the split that this run is scored on."""
        return self.experiment.score_name if self.tested else self.history.metric

    def finish(self) -> tuple[float, int]:
        """Returns the score and the step whose parameters have it; evaluates the test split if that is yet to do."""
        experiment, name = self.experiment, self.score_name
        lines = [line for line in self.log.lines if line["step"] == self.step and name in line]
        if self.tested and lines:
            return float(lines[-1][name]), lines[-1].get("best_step", self.step)
        step = self._best() if experiment.checkpoint.best else self.step
        if experiment.checkpoint.best and step != (best := self.history.best()):
            self.progress.say(f"the checkpoint of step {best}, the best, is not there: the score is of step {step}")
        if not self.tested:
            return self.history.values[step], step
        measures = evaluate(experiment, self._state_of(step), ("test",), notice=self.notice, alive=self._alive)
        self.log.write(self.step, {**({"best_step": step} if experiment.checkpoint.best else {}), **measures})
        self.progress.note(f"step {step}/{experiment.steps}  {describe(measures)}")
        return measures[name], step

    def slices(self, step: int) -> dict[str, float] | None:
        """Returns the score in each slice, with the parameters of a step; evaluates them if that is yet to do."""
        experiment, name = self.experiment, self.experiment.score_name
        if not experiment.task.slices:
            return None
        lines = [line for line in self.log.lines if any(key.startswith(f"{name}[") for key in line)]
        if lines:
            return {key[len(name) + 1 : -1]: float(value) for key, value in lines[-1].items() if key != "step"}
        found = evaluate_slices(experiment, self._state_of(step), notice=self.notice, alive=self._alive)
        named = {f"{name}[{label}]": value for label, value in found.items()}
        self.log.write(self.step, named)
        self.progress.note(f"step {step}/{experiment.steps}  {describe(named)}")
        return found

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
            self.checkpoints.save(self.step, self.state, beside, keep_also=keep_also)
        except NotSaved as failure:
            said = f"checkpoint of step {self.step} could not be saved ({failure}); {self.checkpoints.kept}"
            if last:
                raise RunFailed(f"{said}. Once there is room, the same command goes on from there.") from failure
            self.progress.say(f"{said} and the run goes on")
        else:
            self.saved = self.pulse.saved = self.step

    def close(self) -> None:
        """Closes the files of the run, and ends its line on the terminal."""
        self.progress.clear()
        self.checkpoints.close()
        self.log.close()
        if self.profile is not None:
            self.profile.close(self.step)

    def _alive(self) -> None:
        self.progress.alive(self.step)

    def _best(self) -> int:
        """The step of the best evaluation whose state is there: a checkpoint may not have been saved, or be damaged."""
        mine = self.history.best({*self.checkpoints.steps(), self.step}) if hosts.is_first() else 0
        return hosts.largest(self.step if mine is None else mine)

    def _state_of(self, step: int) -> TrainState:
        if step == self.step:
            return self.state
        restored = self.checkpoints.restore(self.state, step=step)
        assert restored is not None
        return restored.state

    def _due(self, every: int) -> bool:
        return self.step == self.experiment.steps or (every > 0 and self.step % every == 0)

    def _pause_due(self) -> bool:
        experiment = self.experiment
        cadences = (experiment.log.every, experiment.evaluation.every, experiment.checkpoint.every)
        # A signal to one of several processes waits for the next cadence, which they come to together.
        noticed = self.notice.signum is not None and jax.process_count() == 1
        return noticed or any(map(self._due, cadences))

    def _record(self, values: dict[str, Any], *, bad_step: int, skipped: int) -> None:
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

    def _evaluate_if_due(self) -> None:
        experiment, last = self.experiment, self.step == self.experiment.steps
        if self._due(experiment.evaluation.every) and self.step not in {0, *self.history.values}:
            # Of the best parameters it is known at the end alone.
            ends = last and self.tested and not experiment.checkpoint.best
            splits = experiment.final_splits if ends else ("validation",)
            measures = evaluate(experiment, self.state, splits, notice=self.notice, alive=self._alive)
            self.log.write(self.step, measures)
            self.history.values[self.step] = measures[self.history.metric]
            self.progress.note(f"step {self.step}/{experiment.steps}  {describe(measures)}")
            self.progress.measured(self.step, measures)
        # Decided by what is on record, so that a run that was killed ends where it would have.
        self.ended = last or 0 < experiment.evaluation.patience <= self.history.stale

    def _save_if_due(self) -> None:
        is_best = self.experiment.checkpoint.best and self.step in self.history.values and self._best() == self.step
        if is_best or self._due(self.experiment.checkpoint.every):
            self.save(last=self.step == self.experiment.steps)


def _batches(experiment: Experiment, seed: int) -> Ahead:
    """Batches on the devices, each with its number of tokens."""
    rows, reads = experiment.rows(experiment.batch_size), experiment.model.reads
    processes = experiment.batch_size // (rows.stop - rows.start)
    batches = train_batches(experiment.dataset.splits["train"], batch_size=experiment.batch_size, seed=seed, rows=rows)
    # On a CPU there is no other memory to copy to, and one step at a time.
    depth = 0 if experiment.mesh.devices.flat[0].platform == "cpu" else _BATCHES_AHEAD
    return Ahead(batches, lambda batch: (experiment.put(batch), processes * tokens_of(batch, reads)), depth=depth)


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
    config, progress = _config_of(experiment, seed=seed, learning_rate=learning_rate), progress or Progress()
    changed: list[str] = []
    hosts.first_does(lambda: changed.extend(claim(workdir, config)))
    pulse = Pulse(one_at_a_time=one_step_at_a_time(experiment.mesh))
    with ExitStack() as held, noticed(pulse, progress.say) as notice:
        hosts.first_does(lambda: held.enter_context(locked(workdir)))
        if changed:
            progress.say(f"going on with {'; '.join(changed)}")
        with usable(workdir):
            hosts.first_does(lambda: write_config(workdir, config))
        run = _Run(
            experiment,
            workdir,
            seed=config["seed"],
            learning_rate=experiment.learning_rate if learning_rate is None else learning_rate,
            tested=tested,
            progress=progress,
            notice=notice,
            pulse=pulse,
        )
        if profile is not None and hosts.is_first():
            run.profile = Profile(profile, workdir / "profile", after_step=run.step, say=progress.say)
        try:
            run.go()
            run.save(last=True)
            outcome = _outcome(run)
        except Interrupted:
            run.save(last=True)
            raise
        finally:
            run.close()
    with written(workdir / "outcome.json"):
        hosts.first_does(
            lambda: write_atomically(workdir / "outcome.json", json.dumps(asdict(outcome), indent=2) + "\n")
        )
    return outcome


def _config_of(experiment: Experiment, *, seed: int | None, learning_rate: float | None) -> dict[str, Any]:
    """The config of an experiment with what a run has in place of it."""
    config = dict(experiment.config)
    if seed is not None:
        check_seed(seed, name="seed")
        config["seed"] = seed
    if learning_rate is not None:
        check_learning_rate(learning_rate)
        config["optimizer"] = {**config["optimizer"], "learning_rate": learning_rate}
    return config


def _outcome(run: _Run) -> Outcome:
    experiment, meter = run.experiment, run.meter
    score, score_step = run.finish()
    _, cost = experiment.compiled_step
    peak = peak_flops(list(experiment.mesh.devices.flat))
    return Outcome(
        metric=run.score_name,
        score=score,
        score_step=score_step,
        steps=run.step,
        skipped=int(run.state.skipped),
        parameters=experiment.parameters,
        train_seconds=meter.seconds,
        compile_seconds=cost.compile_seconds,
        ms_per_step=meter.ms_per_step,
        ms_per_step_spread=meter.ms_per_step_spread,
        examples_per_second=experiment.batch_size * meter.steps_per_second,
        tokens_per_second=meter.tokens_per_second,
        flops_per_step=meter.flops_per_step,
        flops_complete=all(experiment.flops_of(batch).complete for batch in experiment.abstract_batches),
        mfu=None if peak is None else meter.flops_per_second / peak,
        input_share=meter.input_share,
        peak_bytes=cost.peak_bytes,
        slices=run.slices(score_step),
        decode_bytes=models.decode_bytes(experiment.model),
    )
