"""A run that was stopped, killed or damaged goes on and leaves the same bytes as one that was not."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from attention_jax.training import Interrupted, RunFailed
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, go_on, kill, saved, terminate


# Between two records; at a record; at an evaluation; at a checkpoint; at the very first and the very last step.
@pytest.mark.parametrize("step", [1, 9, 10, 16, 18, 24])
def test_a_signal_saves_and_the_run_goes_on(undisturbed, experiment, tmp_path, step):
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
def test_a_kill_costs_what_came_after_the_last_checkpoint(undisturbed, experiment, tmp_path, step, checkpoint):
    with at_batch(step, kill), pytest.raises(Killed):
        tiny.run(experiment, tmp_path)
    assert saved(tmp_path) == [step for step in (6, 12, 18) if step <= checkpoint][-2:]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "train_lo')
    go_on(undisturbed, experiment, tmp_path, after=checkpoint)


def test_many_interruptions_leave_what_none_leaves(undisturbed, experiment, tmp_path):
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


def test_a_loss_that_is_not_finite_fails_and_the_checkpoint_before_it_serves(undisturbed, experiment, tmp_path):
    def infinite(batch: dict) -> dict:
        return {**batch, "weights": np.full_like(batch["weights"], np.inf)}

    message = r"^the loss or its gradient is not finite from step 9 on; the checkpoint of step 6 is kept\. Lower"
    with at_batch(9, infinite), pytest.raises(RunFailed, match=message):
        tiny.run(experiment, tmp_path)
    assert saved(tmp_path) == [6]
    assert tiny.lines(tmp_path)[-1]["train_loss"] == "nan"
    go_on(undisturbed, experiment, tmp_path, after=6)


def test_a_loss_that_is_not_finite_before_the_first_checkpoint(experiment, tmp_path):
    infinite = {"weights": np.full((8, 8), np.inf, np.float32)}
    with at_batch(1, lambda batch: {**batch, **infinite}), pytest.raises(RunFailed, match="there is no checkpoint"):
        tiny.run(experiment, tmp_path)


def test_a_run_goes_on_on_another_mesh_and_says_so(undisturbed, experiment, tmp_path, monkeypatch):
    with at_batch(9, terminate), pytest.raises(Interrupted):
        tiny.run(experiment, tmp_path)
    # On the one device of this test it is the same mesh: what is asked for differs.
    monkeypatch.setattr(experiment, "config", {**experiment.config, "mesh": {"data": 1}})
    said = go_on(undisturbed, experiment, tmp_path, after=9)
    assert said.startswith("going on with mesh={'data': 1}, which was None\n")
    assert json.loads((tmp_path / "config.json").read_text())["mesh"] == {"data": 1}
    assert "going on with" not in tiny.run(experiment, tmp_path)[1]
