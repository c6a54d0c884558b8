"""The one training and evaluation loop."""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import jax

from attention_jax.data import Ahead, evaluation_batches, train_batches
from attention_jax.kernels.errors import Refused
from attention_jax.training import hosts
from attention_jax.training.checkpoints import Checkpoints, NotSaved
from attention_jax.training.experiment import Experiment
from attention_jax.training.interrupt import Interrupted, Notice, noticed
from attention_jax.training.outcome import Outcome, RunFailed
from attention_jax.training.progress import Progress
from attention_jax.training.sharding import one_step_at_a_time
from attention_jax.training.state import TrainState
from attention_jax.training.workdir import MetricsLog, claim, locked, usable, write_atomically, write_config, written

# How many batches wait on a device that has a memory of its own.
_BATCHES_AHEAD = 2


def evaluate(
    experiment: Experiment, state: TrainState, splits: tuple[str, ...], *, notice: Notice | None = None
) -> dict[str, float]:
    """Returns the measures over whole splits, as "validation_loss" and so on.

    Args:
      experiment: what is evaluated.
      state: its parameters and buffers.
      splits: the names of the splits.
      notice: looked at between batches.

    Raises:
      Interrupted: the notice says so.
    """
    results: dict[str, float] = {}
    for split in splits:
        sums: dict[str, list[float]] = {}
        rows = experiment.rows(experiment.evaluation_batch_size)
        for batch in evaluation_batches(
            experiment.dataset.splits[split], batch_size=experiment.evaluation_batch_size, rows=rows
        ):
            # Several processes stop together, and that between steps.
            if notice is not None and notice.signum is not None and jax.process_count() == 1:
                raise Interrupted("interrupted in an evaluation", notice.signum)
            measures = jax.device_get(experiment.evaluate_batch(state.variables, experiment.put(batch)))
            for name, ratio in measures.items():
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += float(ratio.total)
                total[1] += float(ratio.weight)
        results |= {f"{split}_{name}": total / weight for name, (total, weight) in sums.items()}
    return results


class _Run:
    """One run in its folder: where it is, and what it does between two steps."""

    def __init__(self, experiment: Experiment, workdir: Path, *, seed: int, progress: Progress, notice: Notice):
        self.experiment, self.workdir, self.progress, self.notice = experiment, workdir, progress, notice
        self.checkpoints = Checkpoints(workdir, keep=experiment.checkpoint.keep, say=progress.say)
        self.state = experiment.create_state(seed)
        batches = train_batches(
            experiment.dataset.splits["train"],
            batch_size=experiment.batch_size,
            seed=seed,
            rows=experiment.rows(experiment.batch_size),
        )
        # On a CPU there is no other memory to copy to, and one step at a time.
        depth = 0 if experiment.mesh.devices.flat[0].platform == "cpu" else _BATCHES_AHEAD
        self.batches: Ahead = Ahead(batches, experiment.put, depth=depth)
        self.step, self.saved = 0, -1
        self.windows: list[tuple[int, float]] = []
        restored = self.checkpoints.restore(self.state)
        if restored is not None:
            self.step = self.saved = restored.step
            self.state = restored.state
            self.batches.set_state(restored.beside["batches"])
            self.windows = [(int(steps), seconds) for steps, seconds in restored.beside["windows"]]
            progress.say(f"resuming from the checkpoint of step {self.step}")
        self.log = hosts.in_turn(
            lambda: MetricsLog(
                workdir, after_step=self.step, tensorboard=experiment.log.tensorboard, writes=hosts.is_first()
            )
        )

    def go(self) -> None:
        """Runs to the last step."""
        _ = self.experiment.compiled_step
        # What is due after the step that was restored may not have been done when the run was stopped.
        self._evaluate_if_due()
        window_start, window_step = time.perf_counter(), self.step
        while self.step < self.experiment.steps:
            batch = next(self.batches)
            if one_step_at_a_time(self.experiment.mesh):
                jax.block_until_ready(self.state)
            self.state, metrics = self.experiment.step_for(batch)(self.state, batch)
            self.step += 1
            if not self._pause_due():
                continue
            values = jax.device_get(metrics)
            self.windows.append((self.step - window_step, time.perf_counter() - window_start))
            self._record(values)
            self._evaluate_if_due()
            self._save_if_due()
            if signum := hosts.largest(self.notice.signum or 0):
                raise Interrupted("interrupted", signum)
            window_start, window_step = time.perf_counter(), self.step

    def save(self, *, last: bool = False) -> None:
        """Saves a checkpoint of where the run is, unless there is one, or says why it cannot be saved.

        Args:
          last: whether no later one will do in its place.

        Raises:
          RunFailed: the last one cannot be saved.
        """
        if self.saved == self.step:
            return
        beside = {"batches": self.batches.get_state(), "windows": self.windows}
        try:
            self.checkpoints.save(self.step, self.state, beside)
        except NotSaved as failure:
            said = f"checkpoint of step {self.step} could not be saved ({failure}); {self.checkpoints.kept}"
            if last:
                raise RunFailed(f"{said}. Once there is room, the same command goes on from there.") from failure
            self.progress.say(f"{said} and the run goes on")
        else:
            self.saved = self.step

    def close(self) -> None:
        """Closes the files of the run, and ends its line on the terminal."""
        self.progress.clear()
        self.checkpoints.close()
        self.log.close()

    @property
    def ms_per_step(self) -> float:
        """The median over the windows between two records, in milliseconds, evaluation and saving left out."""
        return median(1000 * seconds / steps for steps, seconds in self.windows)

    def _due(self, every: int) -> bool:
        return self.step == self.experiment.steps or (every > 0 and self.step % every == 0)

    def _pause_due(self) -> bool:
        experiment = self.experiment
        cadences = (experiment.log.every, experiment.evaluation.every, experiment.checkpoint.every)
        # A signal to one of several processes waits for the next cadence, which they come to together.
        noticed = self.notice.signum is not None and jax.process_count() == 1
        return noticed or any(map(self._due, cadences))

    def _record(self, values: dict[str, Any]) -> None:
        values = {name: float(value) for name, value in values.items()}
        if self._due(self.experiment.log.every):
            self.log.write(self.step, values)
        bad_step = int(self.state.bad_step)
        if bad_step >= 0:
            raise RunFailed(
                f"the loss or its gradient is not finite from step {bad_step} on; {self.checkpoints.kept}. Lower "
                "optimizer.learning_rate or optimizer.clip_norm."
            )
        steps, seconds = self.windows[-1]
        rate = steps / seconds
        self.progress.update(
            step=self.step, steps=self.experiment.steps, rate=rate, values={"loss": values["train_loss"]}
        )

    def _evaluate_if_due(self) -> None:
        last = self.step == self.experiment.steps
        if not self._due(self.experiment.evaluation.every) or self.step == 0:
            return
        name = f"validation_{self.experiment.task.metric}"
        if any(line["step"] == self.step and name in line for line in self.log.lines):
            return
        splits = self.experiment.final_splits if last else ("validation",)
        measures = evaluate(self.experiment, self.state, splits, notice=self.notice)
        self.log.write(self.step, measures)
        self.progress.note(f"step {self.step}/{self.experiment.steps}  {describe(measures)}")

    def _save_if_due(self) -> None:
        if self._due(self.experiment.checkpoint.every):
            self.save(last=self.step == self.experiment.steps)


def describe(measures: dict[str, float]) -> str:
    """Returns measures as "validation_loss 1.2345  test_accuracy 0.9876"."""
    return "  ".join(f"{name} {value:.6g}" for name, value in measures.items())


def train(
    experiment: Experiment, workdir: Path, *, seed: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Trains to the last step, from the last checkpoint in the folder if there is one.

    The same command on the same machine leaves the same losses, bit for bit, however often it was killed. On another
    mesh it goes on too, says what changed, and leaves the same losses but for rounding.

    A checkpoint that cannot be saved (the disk is full, its folder was deleted) is said, with the reason and what is
    kept, and the run goes on: the next that is due is tried. If it is the last one, at the end or after a signal, the
    run has failed. So it has when its losses cannot be written.

    Args:
      experiment: what to train.
      workdir: the folder of the run: `config.json`, `metrics.jsonl`, `checkpoints/`, `tensorboard/`, `outcome.json`.
      seed: in place of the config's.
      progress: told what happens.

    Raises:
      Refused: the folder cannot be written, holds the run of another config, or is being trained in.
      RunFailed: the loss is no longer finite, or the losses or the last checkpoint cannot be written.
      Interrupted: a signal came; the run was saved first.
    """
    seed = experiment.seed if seed is None else seed
    config, progress = {**experiment.config, "seed": seed}, progress or Progress()
    changed: list[str] = []
    hosts.first_does(lambda: changed.extend(claim(workdir, config)))
    with ExitStack() as held, noticed() as notice:
        hosts.first_does(lambda: held.enter_context(locked(workdir)))
        if changed:
            progress.say(f"going on with {'; '.join(changed)}")
        with usable(workdir):
            hosts.first_does(lambda: write_config(workdir, config))
        run = _Run(experiment, workdir, seed=seed, progress=progress, notice=notice)
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


def evaluate_checkpoint(
    experiment: Experiment, workdir: Path, *, progress: Progress | None = None
) -> tuple[int, dict[str, float]]:
    """Returns the step of the last checkpoint in a folder, and its measures on the validation and test splits.

    Raises:
      Refused: the folder holds no checkpoint, or the run of another config.
    """
    progress = progress or Progress()
    if not (workdir / "checkpoints").is_dir():
        raise Refused(
            f"workdir {str(workdir)!r} holds no checkpoint: train first, with the same --config and --workdir."
        )
    hosts.first_does(lambda: claim(workdir, experiment.config))
    checkpoints = Checkpoints(workdir, keep=experiment.checkpoint.keep, say=progress.say, read_only=True)
    restored = checkpoints.restore(experiment.create_state(experiment.seed))
    checkpoints.close()
    if restored is None:
        raise Refused(f"workdir {str(workdir)!r} holds no whole checkpoint: train first, with the same --config.")
    return restored.step, evaluate(experiment, restored.state, experiment.final_splits)


def _outcome(run: _Run) -> Outcome:
    experiment = run.experiment
    score = next(line[experiment.score_name] for line in reversed(run.log.lines) if experiment.score_name in line)
    _, cost = experiment.compiled_step
    return Outcome(
        metric=experiment.score_name,
        score=score,
        steps=run.step,
        parameters=experiment.parameters,
        train_seconds=sum(seconds for _, seconds in run.windows),
        ms_per_step=run.ms_per_step,
        peak_bytes=cost.peak_bytes,
    )
