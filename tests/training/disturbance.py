"""Runs that are stopped at a chosen step, and what is asked of them once they have gone on."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from attention_jax.data import train_batches
from attention_jax.training import Experiment
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.state import TrainState
from tests.training import tiny


class Killed(BaseException):
    """Stands for a kill that nothing can catch: what was to be done at the end is not done."""


def kill(batch: dict) -> None:
    raise Killed


def terminate(batch: dict) -> dict:
    os.kill(os.getpid(), signal.SIGTERM)
    return batch


class Disturbed:
    """The batches of training, one of which goes through a function before it is handed out."""

    number: int
    action: Callable[[dict], Any]

    def __init__(self, *arguments: Any, **options: Any):
        self._batches = train_batches(*arguments, **options)
        self.get_state = self._batches.get_state
        self._taken = 0

    def set_state(self, state: dict) -> None:
        self._batches.set_state(state)
        self._taken = state["next_index"]

    def __iter__(self) -> "Disturbed":
        return self

    def __next__(self) -> dict:
        self._taken += 1
        batch = next(self._batches)
        return type(self).action(batch) if self._taken == self.number else batch


@contextmanager
def at_batch(step: int, action: Callable[[dict], Any]) -> Iterator[None]:
    """Within it the batch of a step is what `action` makes of it."""
    disturbed = type("DisturbedAtStep", (Disturbed,), {"number": step, "action": staticmethod(action)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attention_jax.training.running.train_batches", disturbed)
        yield


def go_on(undisturbed, experiment, workdir: Path, *, after: int) -> str:
    """Trains to the end, checks that it went on after that step and left the same bytes, returns what was said."""
    outcome, said = tiny.run(experiment, workdir)
    assert f"resuming from the checkpoint of step {after}\n" in said if after else "resuming" not in said
    assert (workdir / "metrics.jsonl").read_bytes() == undisturbed.metrics
    assert (outcome.score, outcome.steps) == (undisturbed.outcome.score, 24)
    assert final_state(experiment, workdir) == final_state(experiment, undisturbed.workdir)
    return said


def final_state(experiment: Experiment, workdir: Path) -> dict[str, bytes]:
    """Returns the bytes of each array of the state in the last checkpoint, by path."""
    checkpoints = Checkpoints(workdir, keep=2, say=print, read_only=True)
    restored = checkpoints.restore(experiment.create_state(0))
    checkpoints.close()
    assert restored is not None
    assert restored.step == experiment.steps
    return as_bytes(restored.state)


def as_bytes(state: TrainState) -> dict[str, bytes]:
    """Returns the bytes of each array of a state, by path such as ".params['norm']['scale']"."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


def saved(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.is_dir())
