"""The training steps that are timed: all learn the same from the same weights, and a sample is what it says."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from attention_jax.bench import step_jax
from attention_jax.bench.cases import UNITS, LeftOut
from attention_jax.bench.group import Group
from attention_jax.bench.steps import LOSSES, STEP_MEASURES, StepCase, StepSettings, token_batches, weights
from attention_jax.bench.summary import difference

CASE = StepSettings(batch=4, tokens=8, heads=2, width=8, layers=2).case(vocabulary=11)
CORES = len(os.sched_getaffinity(0))


def test_weights_and_batches_are_the_same_numbers_each_time():
    first, again = weights(CASE), weights(CASE)
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert not np.array_equal(first["block_0/attention/query/kernel"], first["block_1/attention/query/kernel"])
    assert abs(first["norm/scale"].mean() - 1) < 0.2 > abs(first["norm/bias"].mean())
    batches = token_batches(CASE)
    assert {name: array.shape for name, array in batches[0].items()} == dict.fromkeys(batches[0], (4, 8))
    assert 0 <= min(batch["inputs"].min() for batch in batches) < max(batch["targets"].max() for batch in batches) < 11
    assert not np.array_equal(batches[0]["inputs"], batches[1]["inputs"])


@pytest.mark.parametrize("measure", STEP_MEASURES, ids=lambda measure: measure.name)
def test_cases_survive_json_and_a_ratio_is_of_milliseconds(measure):
    for comparison in measure.build(StepSettings()):
        cases = [comparison.ours, *comparison.peers.values()]
        assert all(StepCase(**json.loads(json.dumps(case.to_json()))) == case for case in cases)
        assert {UNITS[case.quantity] for case in cases} == {"milliseconds"}
        assert comparison.ratio == ("speed" if measure.name == "torch" else "time")


def test_by_default_it_is_the_shape_that_nanogpt_publishes_for_a_cpu():
    for name in ("sharded", "torch"):
        (measure,) = (measure for measure in STEP_MEASURES if measure.name == name)
        for comparison in measure.build(StepSettings()):
            shape = {"L": 4, "N": 4, "D": 128, "T": 64, "B": 12, "V": 65}
            assert [case.shape for case in (comparison.ours, *comparison.peers.values())] == [shape, shape]


def test_the_loops_step_and_the_hand_written_one_have_the_same_losses():
    ours, plain = (step_jax.prepare(replace(CASE, who=who)) for who in ("attention_jax", "plain jax.jit"))
    assert [len(losses) for losses in ours.digest] == [LOSSES]
    assert difference(plain.digest, ours.digest) < 1e-4
    assert ours.about == {"devices": 1}
    assert ours.sample()["value"] > 0


def test_with_a_device_a_core_the_losses_are_those_of_one(tmp_path):
    with Group("test-1", logs=tmp_path, started=lambda **said: None) as group:
        sharded = group.ask(replace(CASE, process="all_cores"), "prepare")
    assert sharded["about"] == {"devices": max(count for count in (1, 2, 4) if count <= CORES)}
    assert difference(sharded["digest"], step_jax.prepare(CASE).digest) < 1e-4


def test_pytorch_has_the_same_losses_and_gradients():
    torch = pytest.importorskip("torch", reason="PyTorch is an extra: requirements-bench.txt")
    from attention_jax.bench import step_torch

    drawn = {path: torch.from_numpy(array).requires_grad_() for path, array in step_torch._fused(weights(CASE)).items()}
    batch = token_batches(CASE)[0]
    tokens = [torch.from_numpy(batch[name]).long() for name in ("inputs", "targets")]
    loss = step_torch.loss_of(torch, drawn, *tokens, CASE)
    experiment = step_jax.experiment_of(CASE)
    params = step_jax._placed(experiment.create_state(0).params, weights(CASE))
    measures = experiment.evaluate_batch({"params": params, "buffers": {}}, experiment.put(batch))
    assert loss.item() == pytest.approx(float(measures["loss"].mean), rel=1e-6)
    # The losses of the steps after it are of the gradients, the clipping and AdamW.
    assert difference(step_torch.prepare(replace(CASE, who="torch")).digest, step_jax.prepare(CASE).digest) < 1e-4


def test_the_process_of_pytorch_does_not_import_jax(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import sys\nraise ImportError('with jax' if 'jax' in sys.modules else 'alone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Group("test-1", logs=tmp_path, started=lambda **said: None) as group, pytest.raises(LeftOut, match="alone"):
        group.ask(replace(CASE, who="torch", process="torch"), "prepare")


def test_weights_that_the_model_does_not_have_are_an_error():
    params = step_jax.experiment_of(CASE).create_state(0).params
    with pytest.raises(ValueError, match="no parameters head/bias"):
        step_jax._placed(params, {**weights(CASE), "head/bias": np.zeros(11, np.float32)})


@pytest.mark.parametrize("who", ["attention_jax", "plain jax.jit"])
def test_the_hosts_time_is_that_of_a_step_in_a_loop_less_the_devices(who, monkeypatch):
    monkeypatch.setattr(step_jax, "STEPS_AT_ONCE", 5)
    ms = "_ms_of_train" if who == "attention_jax" else "_ms_of_bare_loop"
    plain, seen = getattr(step_jax, ms), []
    monkeypatch.setattr(step_jax, ms, lambda case: seen.append(plain(case)) or seen[-1])
    sample = step_jax.prepare(replace(CASE, who=who, quantity="loop")).sample()
    assert sample["step"] == seen[-1] > 0
    assert sample["value"] == sample["step"] - sample["device"]
    assert sample["device"] > 0


def test_a_step_of_an_experiment_is_that_of_a_whole_run(monkeypatch):
    monkeypatch.setattr(
        step_jax, "train", lambda experiment, folder: SimpleNamespace(input_share=0.025, ms_per_step=20.0)
    )
    case = replace(CASE, experiment="recall")
    assert case.shape == {"experiment": "recall"}
    assert step_jax.prepare(case).sample() == {"value": 20.0, "waited": 0.025}


def test_reading_a_batch_is_timed_a_batch_at_a_time(monkeypatch):
    case = replace(CASE, quantity="input", experiment="recall")
    experiment, put = step_jax.experiment_of(case), []
    monkeypatch.setattr(experiment, "put", put.append)
    ready = step_jax.prepare(case)
    before = len(put)
    sample = ready.sample()
    assert len(put) - before == sample["calls"] + 1
    assert {len(batch["inputs"]) for batch in put} == {experiment.batch_size}
    assert sample["value"] > 0


def test_sizes_that_the_experiment_refuses_are_left_out():
    with pytest.raises(LeftOut, match="refused: mqar needs an even length"):
        step_jax.prepare(replace(CASE, tokens=7))
