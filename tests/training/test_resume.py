"""A run that was stopped, killed or damaged goes on and leaves the same bytes as one that was not."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from attention_jax.data import train_batches
from attention_jax.training import Interrupted, RunFailed
from attention_jax.training.checkpoints import Checkpoints
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

    def __next__(self) -> dict:
        self._taken += 1
        batch = next(self._batches)
        return type(self).action(batch) if self._taken == self.number else batch


@pytest.fixture
def at_batch(monkeypatch) -> Callable[..., Any]:
    """`with at_batch(step, action)`: the batch of that step is what `action` makes of it."""

    @contextmanager
    def patched(step: int, action: Callable[[dict], Any]) -> Iterator[None]:
        disturbed = type("DisturbedAtStep", (Disturbed,), {"number": step, "action": staticmethod(action)})
        with monkeypatch.context() as patch:
            patch.setattr("attention_jax.training.loop.train_batches", disturbed)
            yield

    return patched


def go_on(undisturbed, experiment, workdir: Path, *, after: int) -> str:
    """Trains to the end, checks that it went on after that step and left the same bytes, returns what was said."""
    outcome, said = tiny.run(experiment, workdir)
    assert f"resuming from the checkpoint of step {after}\n" in said if after else "resuming" not in said
    assert (workdir / "metrics.jsonl").read_bytes() == undisturbed.metrics
    assert (outcome.score, outcome.steps) == (undisturbed.outcome.score, 24)
    assert final_state(experiment, workdir) == final_state(experiment, undisturbed.workdir)
    return said


def final_state(experiment, workdir: Path) -> bytes:
    """Returns the bytes of the whole state in the last checkpoint."""
    checkpoints = Checkpoints(workdir, keep=2, say=print)
    restored = checkpoints.restore(experiment.create_state(0))
    checkpoints.close()
    assert restored.step == 24
    numbers = jax.tree.leaves(replace(restored.state, key=jax.random.key_data(restored.state.key)))
    return b"".join(np.asarray(leaf).tobytes() for leaf in numbers)


def saved(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.is_dir())


# Between two records; at a record; at an evaluation; at a checkpoint; at the very first and the very last step.
@pytest.mark.parametrize("step", [1, 9, 10, 16, 18, 24])
def test_a_signal_saves_and_the_run_goes_on(undisturbed, experiment, tmp_path, at_batch, step):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with at_batch(step, terminate), pytest.raises(Interrupted) as caught:
        tiny.run(experiment, tmp_path)
    assert caught.value.signum == signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert saved(tmp_path)[-1] == step
    assert not (tmp_path / "outcome.json").exists()
    go_on(undisturbed, experiment, tmp_path, after=step)


# The validation split has three batches; the last evaluation goes on with the two of the test split.
@pytest.mark.parametrize(("call", "step"), [(2, 8), (4, 16), (8, 24), (11, 24)])
def test_a_signal_in_an_evaluation_saves_and_the_evaluation_is_done_again(
    undisturbed, experiment, tmp_path, monkeypatch, call, step
):
    evaluate_batch, calls = experiment.evaluate_batch, iter(range(1, 100))

    def disturbed(variables, batch):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate_batch(variables, batch)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "evaluate_batch", disturbed)
        with pytest.raises(Interrupted) as caught:
            tiny.run(experiment, tmp_path)
    assert caught.value.signum == signal.SIGINT
    assert saved(tmp_path)[-1] == step
    go_on(undisturbed, experiment, tmp_path, after=step)


@pytest.mark.parametrize(("step", "checkpoint"), [(4, 0), (17, 12), (24, 18)])
def test_a_kill_costs_what_came_after_the_last_checkpoint(
    undisturbed, experiment, tmp_path, at_batch, step, checkpoint
):
    with at_batch(step, kill), pytest.raises(Killed):
        tiny.run(experiment, tmp_path)
    assert saved(tmp_path) == [step for step in (6, 12, 18) if step <= checkpoint][-2:]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "train_lo')
    go_on(undisturbed, experiment, tmp_path, after=checkpoint)


def test_many_interruptions_leave_what_none_leaves(undisturbed, experiment, tmp_path, at_batch):
    for step, action, stop in ((5, terminate, Interrupted), (13, kill, Killed), (14, terminate, Interrupted)):
        with at_batch(step, action), pytest.raises(stop):
            tiny.run(experiment, tmp_path)
    go_on(undisturbed, experiment, tmp_path, after=14)


def test_a_kill_after_the_last_save_and_before_the_outcome(undisturbed, experiment, tmp_path):
    shutil.copytree(undisturbed.workdir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "outcome.json").unlink()
    go_on(undisturbed, experiment, tmp_path, after=24)
    assert (tmp_path / "outcome.json").read_text() == (undisturbed.workdir / "outcome.json").read_text()


@pytest.mark.parametrize(("damaged", "after"), [((24,), 18), ((18, 24), 0)])
def test_a_damaged_checkpoint_is_set_aside_and_an_earlier_one_is_used(
    undisturbed, experiment, tmp_path, damaged, after
):
    shutil.copytree(undisturbed.workdir, tmp_path, dirs_exist_ok=True)
    for step in damaged:
        largest = max((tmp_path / "checkpoints" / str(step)).rglob("*"), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
    said = go_on(undisturbed, experiment, tmp_path, after=after)
    assert all(f"checkpoint of step {step} is damaged" in said for step in damaged)
    assert len(list((tmp_path / "damaged_checkpoints").iterdir())) == len(damaged)


def test_a_loss_that_is_not_finite_fails_and_the_checkpoint_before_it_serves(
    undisturbed, experiment, tmp_path, at_batch
):
    def infinite(batch: dict) -> dict:
        return {**batch, "weights": np.full_like(batch["weights"], np.inf)}

    message = r"^the loss or its gradient is not finite from step 9 on; the checkpoint of step 6 is kept\. Lower"
    with at_batch(9, infinite), pytest.raises(RunFailed, match=message):
        tiny.run(experiment, tmp_path)
    assert saved(tmp_path) == [6]
    assert tiny.lines(tmp_path)[-1]["train_loss"] == "nan"
    go_on(undisturbed, experiment, tmp_path, after=6)


def test_a_loss_that_is_not_finite_before_the_first_checkpoint(experiment, tmp_path, at_batch):
    infinite = {"weights": np.full((8, 8), np.inf, np.float32)}
    with at_batch(1, lambda batch: {**batch, **infinite}), pytest.raises(RunFailed, match="there is no checkpoint yet"):
        tiny.run(experiment, tmp_path)
