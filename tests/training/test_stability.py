"""A step that goes wrong ends the run, or is passed over and counted, exactly as often after a stop."""

import math

import numpy as np
import pytest

from attention_jax.training import Experiment, Interrupted, RunFailed
from attention_jax.training.stability import check_stable, skipped_line
from attention_jax.training.step import Instability
from tests.training import tiny
from tests.training.disturbance import at_batch, saved, terminate

FINE = {"train_loss": 2.0, "gradient_norm": 1.0}
BROKEN = {"train_loss": 2.0, "gradient_norm": math.nan}


def check(instability: Instability, *, bad_step: int = -1, skipped: int = 0, values: dict = FINE) -> None:
    check_stable(instability, step=30, bad_step=bad_step, skipped=skipped, values=values, kept=lambda: "KEPT")


@pytest.mark.parametrize(
    ("instability", "found"),
    [
        (Instability(), {}),
        (Instability(), {"values": BROKEN}),
        (Instability(action="skip", most_skipped=3), {"bad_step": 4, "skipped": 3, "values": BROKEN}),
        (Instability(action="skip", most_skipped=0), {}),
    ],
)
def test_a_run_goes_on_while_no_step_counts_as_wrong_or_few_do(instability, found):
    check(instability, **found)


@pytest.mark.parametrize(
    ("instability", "found", "message"),
    [
        (
            Instability(),
            {"bad_step": 9},
            r"^the loss or its gradient is not finite from step 9 on; KEPT\. Lower opt.*\.$",
        ),
        (
            Instability(spike=5.0),
            {"bad_step": 9, "values": BROKEN},
            r"^the loss or its gradient is not finite from step 9",
        ),
        (
            Instability(spike=5.0),
            {"bad_step": 9},
            r"^the norm of the gradient spiked at step 9: it is more than 5 times its running mean; KEPT\. Lower "
            r"optimizer\.learning_rate or optimizer\.clip_norm, raise instability\.spike, or set .*\.action='skip'\.$",
        ),
        (
            Instability(action="skip", most_skipped=3),
            {"bad_step": 9, "skipped": 4},
            r"^4 steps up to step 30 were skipped, the first of them step 9, since the loss or its gradient was not "
            r"finite, and instability\.most_skipped is 3; KEPT\. Lower .*, or raise instability\.most_skipped\.$",
        ),
        (
            Instability(action="skip", spike=2.5, most_skipped=0),
            {"bad_step": 9, "skipped": 1},
            r"not finite, or the norm spiked above 2\.5 times its mean, and instability\.most_skipped is 0",
        ),
    ],
)
def test_the_end_names_the_step_the_reason_and_the_way_out(instability, found, message):
    with pytest.raises(RunFailed, match=message):
        check(instability, **found)


def test_what_was_skipped_is_said():
    said = [skipped_line(Instability(action="skip"), step=30, bad_step=9, skipped=number) for number in (1, 4)]
    why = "the first of them step 9, since the loss or its gradient was not finite"
    assert said == [f"1 step skipped up to step 30, {why}", f"4 steps skipped up to step 30, {why}"]


@pytest.fixture(scope="module")
def skipping() -> Experiment:
    return Experiment(**tiny.sections(instability={"action": "skip"}))


def infinite(batch: dict) -> dict:
    return {**batch, "weights": np.full_like(batch["weights"], np.inf)}


def broken_and_stopped(batch: dict) -> dict:
    return terminate(infinite(batch))


def test_a_skipped_step_is_counted_said_and_the_same_after_a_stop(skipping, tmp_path):
    with at_batch(9, infinite):
        outcome, said = tiny.run(skipping, tmp_path / "whole")
    assert (outcome.steps, outcome.skipped) == (24, 1)
    counts = [line["skipped"] for line in tiny.lines(tmp_path / "whole") if "train_loss" in line]
    assert counts == [0] * 4 + [1] * 8
    assert said.count("skipped up to") == 1
    assert "1 step skipped up to step 10, the first of them step 9, since" in said

    with at_batch(9, broken_and_stopped), pytest.raises(Interrupted):
        tiny.run(skipping, tmp_path / "stopped")
    outcome, said = tiny.run(skipping, tmp_path / "stopped")
    assert outcome.skipped == 1
    assert "skipped" not in said
    whole, stopped = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "stopped"))
    assert stopped == whole


def test_too_many_skipped_steps_fail_the_run_and_the_checkpoint_before_serves(skipping, tmp_path):
    strict = tiny.variant(skipping, instability={"most_skipped": 0})
    message = r"^1 steps? up to step 10 were skipped, the first of them step 9, .*the checkpoint of step 6 is kept\."
    with at_batch(9, infinite), pytest.raises(RunFailed, match=message):
        tiny.run(strict, tmp_path)
    assert saved(tmp_path) == [6]
    outcome, _ = tiny.run(strict, tmp_path)
    assert (outcome.steps, outcome.skipped) == (24, 0)


def test_the_count_is_on_record_only_where_steps_are_skipped(undisturbed):
    assert not any("skipped" in line for line in tiny.lines(undisturbed.workdir))
