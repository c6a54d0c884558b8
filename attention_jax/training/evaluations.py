"""Measuring a state on whole splits, and what the evaluations of a run say of its progress."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.tasks import Ratio, Task
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.collecting import measured, scores_of
from attention_jax.training.experiment import Experiment
from attention_jax.training.parallel import hosts
from attention_jax.training.run.interrupt import Notice
from attention_jax.training.run.progress import Progress
from attention_jax.training.run.workdir import compare_config, read_lines
from attention_jax.training.state import TrainState


def evaluate(
    experiment: Experiment,
    state: TrainState,
    splits: tuple[str, ...],
    *,
    notice: Notice | None = None,
    alive: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Returns the measures over whole splits, as "validation_loss" and so on.

    The scores of the task are among them where each evaluation has them (`experiment.collects`).

    Args:
      experiment: what is evaluated.
      state: its parameters and buffers.
      splits: the names of the splits.
      notice: looked at between batches.
      alive: called before each batch.

    Raises:
      Interrupted: the notice says so.
    """
    (measures,) = evaluate_with(
        lambda batch: experiment.evaluate_batch(state.variables, batch), experiment, splits, notice=notice, alive=alive
    )
    return measures | (scores_of(experiment, state, splits, notice=notice, alive=alive) if experiment.collects else {})


def evaluate_with(
    measure: Callable[[Any], dict[str, Ratio]],
    experiment: Experiment,
    splits: tuple[str, ...],
    *,
    notice: Notice | None,
    alive: Callable[[], None],
) -> list[dict[str, float]]:
    """Returns the measures that add up, of each of the states that are measured.

    Args:
      measure: a batch on the devices -> its measures, numbers or an array of one for each state.
      experiment: whose splits they are.
      splits: the names of the splits.
      notice: looked at between batches.
      alive: called before each batch.

    Raises:
      Interrupted: the notice says so.
    """
    results: list[dict[str, float]] = []
    for split in splits:
        sums: dict[str, np.ndarray] = {}
        for measures in measured(measure, experiment, split, notice=notice, alive=alive):
            for name, ratio in measures.items():
                both = np.stack([np.atleast_1d(part).astype(np.float64) for part in (ratio.total, ratio.weight)])
                sums[name] = sums[name] + both if name in sums else both
        results = results or [{} for _ in next(iter(sums.values()))[0]]
        for name, (totals, weights) in sums.items():
            for found, total, weight in zip(results, totals.tolist(), weights.tolist(), strict=True):
                found[f"{split}_{name}"] = total / weight
    return results


def evaluate_slices(
    experiment: Experiment,
    state: TrainState,
    *,
    notice: Notice | None = None,
    alive: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Returns the score in each slice that its split has items of, as "pairs=8"; arguments as of `evaluate`.

    Raises:
      Interrupted: the notice says so.
    """
    sums: dict[tuple[str, int], list[float]] = {}
    split = experiment.score_split if experiment.task.slices else None

    def measure(batch: Any) -> dict[str, Ratio]:
        return experiment.evaluate_slices(state.variables, batch)

    for measures in measured(measure, experiment, split, notice=notice, alive=alive):
        for name, ratio in measures.items():
            for place, parts in enumerate(zip(ratio.total, ratio.weight, strict=True)):
                total = sums.setdefault((name, place), [0.0, 0.0])
                total[0] += float(parts[0])
                total[1] += float(parts[1])
    return {
        f"{slicing.name}={slicing.label(place)}": total / weight
        for slicing in experiment.task.slices
        for (name, place), (total, weight) in sorted(sums.items())
        if name == slicing.name and weight > 0
    }


def describe(measures: dict[str, float]) -> str:
    """Returns measures as "validation_loss 1.2345  test_accuracy 0.9876"."""
    return "  ".join(f"{name} {value:.6g}" for name, value in measures.items())


@dataclass(frozen=True)
class History:
    """The evaluations of a run so far, of the metric that decides on the validation split.

    Attributes:
      metric: its name, such as "validation_loss".
      values: step -> value, in the order of the steps.
      higher_is_better: of two values.
    """

    metric: str
    values: dict[int, float]
    higher_is_better: bool

    def best(self, among: Collection[int] | None = None) -> int | None:
        """Returns the step of the best value, the first of equals; NaN is worse than any.

        Args:
          among: the steps to choose from; None is all.
        """
        steps = [step for step in self.values if among is None or step in among]
        return max(steps, key=self._merit, default=None)

    def reached(self, target: float | None) -> bool:
        """Returns whether the best value is as good as a target; None is never reached."""
        best = self.best()
        if target is None or best is None:
            return False
        return self._merit(best) >= (target if self.higher_is_better else -target)

    @property
    def stale(self) -> int:
        """How many evaluations there were since the best."""
        best = self.best()
        return 0 if best is None else len(self.values) - 1 - list(self.values).index(best)

    def _merit(self, step: int) -> float:
        value = self.values[step]
        if math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value


def history(task: Task, lines: Iterable[Mapping[str, Any]]) -> History:
    """Returns the evaluations among the lines of `metrics.jsonl`; a value that is not finite is a word there."""
    metric = f"validation_{task.metric}"
    values = {line["step"]: float(line[metric]) for line in lines if metric in line}
    return History(metric, values, task.higher_is_better)


def evaluate_checkpoint(
    experiment: Experiment, workdir: Path, *, checkpoint: str = "last", progress: Progress | None = None
) -> tuple[int, dict[str, float]]:
    """Returns the step of a checkpoint in a folder, and its measures on the validation and test splits and in slices.

    Args:
      experiment: that of the run.
      workdir: its folder.
      checkpoint: "last", "best" (on the validation split, of the evaluations that the run recorded) or a step.
      progress: told of damaged checkpoints, and of what was done with examples.

    Raises:
      Refused: the folder holds no such checkpoint, or the run of another config.
    """
    progress = progress or Progress()
    if not (workdir / "checkpoints").is_dir():
        raise Refused(
            f"workdir {str(workdir)!r} holds no checkpoint: train first, with the same --config and --workdir."
        )
    hosts.first_does(lambda: compare_config(workdir, experiment.config))
    for note in experiment.dataset.notes if hosts.is_first() else ():
        progress.say(note)
    checkpoints = Checkpoints(workdir, keep=experiment.checkpoint.keep, say=progress.say, read_only=True)
    try:
        steps = checkpoints.steps()
        if not steps:
            raise Refused(f"workdir {str(workdir)!r} holds no whole checkpoint: train first, with the same --config.")
        step = chosen_step(experiment.task, workdir, checkpoint, steps)
        restored = checkpoints.restore(experiment.create_state(experiment.seed), step=step)
    finally:
        checkpoints.close()
    assert restored is not None
    measures = evaluate(experiment, restored.state, experiment.final_splits)
    if experiment.task.scores and not experiment.collects:
        measures |= scores_of(experiment, restored.state, experiment.final_splits)
    slices = evaluate_slices(experiment, restored.state)
    return step, measures | {f"{experiment.score_name}[{label}]": value for label, value in slices.items()}


def chosen_step(task: Task, workdir: Path, checkpoint: str, steps: list[int]) -> int:
    """Returns the step of the checkpoint that is meant.

    Args:
      task: of the run.
      workdir: the folder of the run.
      checkpoint: "last", "best" (on the validation split, of the evaluations that the run recorded) or a step.
      steps: those of its whole checkpoints.

    Raises:
      Refused: there is no such checkpoint.
    """
    there = f"give --checkpoint=last, or one of the steps {', '.join(map(str, steps))}"
    if checkpoint == "last":
        return steps[-1]
    if checkpoint == "best":
        best = history(task, read_lines(workdir / "metrics.jsonl")).best()
        if best is None:
            raise Refused(f"--checkpoint=best: nothing was evaluated in workdir {str(workdir)!r}: {there}.")
        if best not in steps:
            raise Refused(
                f"--checkpoint=best: that of step {best} is not there; training with --config.checkpoint.best=True "
                f"keeps it: {there}."
            )
        return best
    if not (checkpoint.isascii() and checkpoint.isdigit()):
        raise Refused(f"--checkpoint={checkpoint}: give best, last or a step.")
    if int(checkpoint) not in steps:
        raise Refused(f"--checkpoint={checkpoint}: there is no checkpoint of that step: {there}.")
    return int(checkpoint)
