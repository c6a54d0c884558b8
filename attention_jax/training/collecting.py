"""Going over whole splits, and the scores of a task: of all rows of a split, collected batch by batch."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data import evaluation_batches, evaluation_order
from attention_jax.training.experiment import Experiment
from attention_jax.training.run.interrupt import Interrupted, Notice
from attention_jax.training.state import TrainState

Found = TypeVar("Found")
# (a batch on the devices, its number) -> the named arrays of each state [M, B, ...], and which rows count, [M, B].
CollectBatch = Callable[[Any, np.int32], tuple[dict[str, Any], Any]]


def measured(
    measure: Callable[[Any], Found],
    experiment: Experiment,
    split: str | None,
    *,
    notice: Notice | None,
    alive: Callable[[], None],
) -> Iterator[Found]:
    """Yields what a compiled function gives of each batch of a split, on the host; of None nothing.

    Args:
      measure: a batch on the devices -> a pytree of arrays.
      experiment: whose split it is.
      split: its name.
      notice: looked at between batches.
      alive: called before each batch.

    Raises:
      Interrupted: the notice says so.
    """
    if split is None:
        return
    size = experiment.evaluation_batch_size
    for batch in evaluation_batches(experiment.dataset.splits[split], batch_size=size, rows=experiment.rows(size)):
        alive()
        # Several processes stop together, and that between steps.
        if notice is not None and notice.signum is not None and jax.process_count() == 1:
            raise Interrupted("interrupted in an evaluation", notice.signum)
        yield jax.device_get(measure(experiment.put(batch)))


def scores_of(
    experiment: Experiment,
    state: TrainState,
    splits: tuple[str, ...],
    *,
    notice: Notice | None = None,
    alive: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Returns the scores of a state on whole splits, as "test_bleu"; arguments as of `evaluations.evaluate`.

    Raises:
      Refused: the task gives other scores than it says.
      Interrupted: the notice says so.
    """

    def collect(batch: Any, number: np.int32) -> tuple[dict[str, Any], Any]:
        found = jax.device_get(experiment.collect_batch(state.variables, state.key, number, batch))
        return jax.tree.map(lambda array: array[None], found)

    (scores,) = scores_with(collect, experiment, splits, notice=notice, alive=alive)
    return scores


def scores_with(
    collect: CollectBatch,
    experiment: Experiment,
    splits: tuple[str, ...],
    *,
    notice: Notice | None,
    alive: Callable[[], None],
) -> list[dict[str, float]]:
    """Returns what `scores_of` does, of each of the states that `collect` is of."""
    results: list[dict[str, float]] = []
    for split in splits:
        parts: list[tuple[dict[str, np.ndarray], np.ndarray]] = []

        def numbered(batch: Any, parts: list = parts) -> tuple[dict[str, Any], Any]:
            return collect(batch, np.int32(len(parts)))

        for part in measured(numbered, experiment, split, notice=notice, alive=alive):
            parts.append(part)
        results = results or [{} for _ in parts[0][1]]
        for member, found in enumerate(results):
            of_member = [jax.tree.map(lambda array, member=member: array[member], part) for part in parts]
            found.update({f"{split}_{name}": value for name, value in _scores(experiment, split, of_member).items()})
    return results


def _scores(
    experiment: Experiment, split: str, parts: list[tuple[dict[str, np.ndarray], np.ndarray]]
) -> dict[str, float]:
    """Returns the scores of what was collected of each batch of a split, with the rows that count."""
    task = experiment.task
    assert task.score is not None
    order = np.argsort(evaluation_order(experiment.dataset.splits[split]))
    rows = {name: _joined([arrays[name][valid] for arrays, valid in parts])[order] for name in parts[0][0]}
    scores = task.score(rows, experiment.dataset, split)
    if scores.keys() != {*task.scores}:
        raise Refused(
            f"task {task.name} gives the scores {', '.join(scores)} and says that it gives {', '.join(task.scores)}."
        )
    return {name: float(value) for name, value in scores.items()}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Returns arrays [b, ...] one behind the other, filled up at the end of their other axes to the largest."""
    largest = np.max([part.shape[1:] for part in parts], axis=0, initial=0)

    def filled(part: np.ndarray) -> np.ndarray:
        missing = [int(size - there) for size, there in zip(largest, part.shape[1:], strict=True)]
        return np.pad(part, [(0, 0), *((0, size) for size in missing)])

    return np.concatenate([filled(part) for part in parts])
