"""A run from its first step to its last: it learns, it is the same twice, and what it leaves behind is right."""

import json
import math
import re
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Experiment
from attention_jax.training import experiment as experiment_module
from tests.training import tiny


def test_losses_fall(undisturbed):
    training = [line["train_loss"] for line in tiny.lines(undisturbed.workdir) if "train_loss" in line]
    validation = [line["validation_loss"] for line in tiny.lines(undisturbed.workdir) if "validation_loss" in line]
    assert sum(training[-4:]) / 4 < 0.75 * sum(training[:2]) / 2
    assert validation == sorted(validation, reverse=True)
    assert validation[-1] < math.log(16)


def test_each_line_holds_what_is_due_at_its_step(undisturbed):
    recorded = {"train_loss", "train_accuracy", "gradient_norm", "learning_rate"}
    validation = {"validation_loss", "validation_accuracy"}
    final = validation | {"test_loss", "test_accuracy"}
    expected = [(step, recorded) for step in range(2, 25, 2)]
    expected += [(8, validation), (16, validation), (24, final)]
    there = [(line["step"], line.keys() - {"step"}) for line in tiny.lines(undisturbed.workdir)]
    assert there == sorted(expected, key=lambda entry: entry[0])
    rates = [line["learning_rate"] for line in tiny.lines(undisturbed.workdir) if "learning_rate" in line]
    # The rate of an update is the schedule at the number of updates before it.
    expected_rates = [0.03 * (1 + math.cos(math.pi * step / 24)) / 2 for step in range(1, 24, 2)]
    assert rates == pytest.approx(expected_rates, rel=1e-5)


def test_the_outcome_is_that_of_the_last_line(undisturbed, experiment):
    outcome = undisturbed.outcome
    assert (outcome.metric, outcome.steps) == ("test_loss", 24)
    assert outcome.score == tiny.lines(undisturbed.workdir)[-1]["test_loss"]
    # Token and position embeddings, one block without biases, three norms; the random features are not trained.
    assert outcome.parameters == experiment.parameters == (16 + 8) * 8 + 12 * 8**2 + 3 * 16
    assert outcome.train_seconds > 0
    assert outcome.compile_seconds > 0
    assert outcome.ms_per_step > 0
    assert (outcome.score_step, outcome.skipped) == (24, 0)
    # Every step has 8 rows of 8 tokens.
    assert outcome.examples_per_second == pytest.approx(8000 / outcome.ms_per_step, rel=0.5)
    assert outcome.tokens_per_second == pytest.approx(8 * outcome.examples_per_second)
    assert outcome.flops_per_step == experiment.flops_of(experiment.abstract_batch).count
    assert outcome.flops_complete
    assert 0 < outcome.mfu < 1
    assert 0 < outcome.input_share < 1
    assert outcome.peak_bytes > 4 * 3 * outcome.parameters
    assert json.loads((undisturbed.workdir / "outcome.json").read_text()) == vars(outcome)


def test_a_run_that_is_not_tested_does_the_same_without_the_test_split(undisturbed, experiment, tmp_path):
    outcome, said = tiny.run(experiment, tmp_path, tested=False)
    lines = tiny.lines(tmp_path)
    assert not [name for line in lines for name in line if name.startswith("test_")]
    assert lines == [
        {name: value for name, value in line.items() if not name.startswith("test_")}
        for line in tiny.lines(undisturbed.workdir)
    ]
    assert (outcome.metric, outcome.score) == ("validation_loss", lines[-1]["validation_loss"])
    assert "test_" not in said


def test_the_time_of_a_step_ends_when_its_results_are_there(experiment, tmp_path, monkeypatch):
    device_get = jax.device_get

    def slow(values: Any) -> Any:
        time.sleep(0.02)
        return device_get(values)

    monkeypatch.setattr(jax, "device_get", slow)
    outcome, _ = tiny.run(experiment, tmp_path)
    # There is a record every second step.
    assert outcome.ms_per_step >= 10


def test_a_run_says_its_evaluations_and_nothing_of_resuming(undisturbed):
    evaluations = re.findall(r"^step (\d+)/24  validation_accuracy [\d.]+  validation_loss ", undisturbed.said, re.M)
    assert evaluations == ["8", "16", "24"]
    assert "resum" not in undisturbed.said


def test_the_same_seed_compiled_anew_leaves_the_same_bytes_and_another_seed_does_not(undisturbed, tmp_path):
    anew = Experiment(**tiny.sections())
    tiny.run(anew, tmp_path / "same")
    assert (tmp_path / "same" / "metrics.jsonl").read_bytes() == undisturbed.metrics
    tiny.run(anew, tmp_path / "other", seed=1)
    first, other = (tiny.lines(folder)[0] for folder in (undisturbed.workdir, tmp_path / "other"))
    assert first["learning_rate"] == other["learning_rate"]
    assert first["train_loss"] != other["train_loss"]
    assert json.loads((tmp_path / "other" / "config.json").read_text())["seed"] == 1


def test_a_finished_run_is_not_trained_again(undisturbed, experiment, monkeypatch):
    def no_evaluation(*arguments):
        raise AssertionError("it evaluated")

    monkeypatch.setattr("attention_jax.training.running.train_batches", lambda *_, **__: NoBatches())
    monkeypatch.setattr(experiment, "evaluate_batch", no_evaluation)
    outcome, said = tiny.run(experiment, undisturbed.workdir)
    assert outcome == undisturbed.outcome
    assert (undisturbed.workdir / "metrics.jsonl").read_bytes() == undisturbed.metrics
    assert "resuming from the checkpoint of step 24" in said


class NoBatches:
    """Batches that may be positioned and not taken."""

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def __iter__(self):
        return self

    def __next__(self):
        raise AssertionError("it trained")


def test_the_folder_of_another_run_is_refused_and_left_alone(undisturbed, experiment):
    with pytest.raises(Refused, match=r"holds the run of another config \(seed is 0 there and 5 here\): give another"):
        tiny.run(experiment, undisturbed.workdir, seed=5)
    assert (undisturbed.workdir / "metrics.jsonl").read_bytes() == undisturbed.metrics


def test_a_learning_rate_is_of_the_run_and_ties_its_folder(undisturbed, experiment, tmp_path):
    with pytest.raises(Refused, match=r"\(optimizer\.learning_rate is 0\.03 there and 0\.01 here\): give another"):
        tiny.run(experiment, undisturbed.workdir, learning_rate=0.01)
    assert (undisturbed.workdir / "metrics.jsonl").read_bytes() == undisturbed.metrics
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(Refused, match=rf"^optimizer\.learning_rate={wrong}: give a number of at least 0"):
            tiny.run(experiment, tmp_path / "run", learning_rate=wrong)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_refused(experiment, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"workdir .*file/run' cannot be used: .*Give another --workdir"):
        tiny.run(experiment, tmp_path / "file" / "run")


def test_seeds_share_what_is_compiled(experiment, monkeypatch):
    experiment.create_state(0)
    traced = []
    monkeypatch.setattr(experiment_module, "create_state", lambda *arguments, **options: traced.append(options))
    keys = [experiment.create_state(seed).key for seed in (1, 2)]
    assert traced == []
    assert (keys[0] != keys[1]).any()
    assert experiment.compiled_step is experiment.compiled_step


def test_dropout_is_drawn_anew_at_each_step(experiment):
    step, _ = experiment.compiled_step
    batch, rate = experiment.put(experiment.dataset.splits["train"].gather(np.arange(8))), experiment.put_rate(0.03)

    def loss(number: int) -> float:
        state = replace(experiment.create_state(0), step=jnp.int32(number))
        return float(step(state, batch, rate)[1]["train_loss"])

    assert loss(0) == loss(0)
    assert len({loss(number) for number in range(4)}) == 4


def test_the_compiled_step_tells_its_memory(experiment):
    _, cost = experiment.compiled_step
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(experiment.create_state(0)))
    # What is donated counts once: arguments and results together would be twice the state.
    assert state < cost.peak_bytes
    assert cost.compile_seconds > 0
