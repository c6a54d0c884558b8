"""The decoding that is timed: the same model and tokens on both sides, and a sample is of one step."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.bench import decode_jax
from attention_jax.bench.cases import UNITS, LeftOut
from attention_jax.bench.decodes import (
    BARS,
    DECODE_MEASURES,
    READING,
    DecodeCase,
    DecodeSettings,
    prompts,
    weight_shapes,
    weights,
)
from attention_jax.bench.group import Group

CASE = DecodeSettings(tokens=4, new_tokens=6).case(2, 2, 8, 11, batch=2)
NO_TRANSFORMERS = "transformers is an extra: requirements-bench.txt"


def test_weights_and_prompts_are_the_same_numbers_each_time():
    first, again = weights(CASE), weights(CASE)
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert not np.array_equal(first["block_0/attention/query/kernel"], first["block_1/attention/query/kernel"])
    assert abs(first["norm/scale"].mean() - 1) < 0.2 > abs(first["norm/bias"].mean())
    tokens = prompts(CASE)
    assert tokens.shape == (2, 4)
    assert 0 <= tokens.min() < tokens.max() < 11
    assert np.array_equal(tokens, prompts(CASE))


def test_the_bytes_of_a_step_are_those_of_gpt_2():
    (case,) = (c.ours for c in DECODE_MEASURES[-1].build(DecodeSettings()) if c.ours.batch == 1)
    # 124,439,808 with 1024 positions.
    assert sum(int(np.prod(shape)) for shape in weight_shapes(case).values()) == 124_439_808 - (1024 - 192) * 768
    assert case.weight_bytes == 4 * (124_439_808 - 1024 * 768)


@pytest.mark.parametrize("measure", DECODE_MEASURES, ids=lambda measure: measure.name)
def test_cases_survive_json_and_are_of_one_shape(measure):
    comparisons = list(measure.build(DecodeSettings()))
    assert [comparison.ours.batch for comparison in comparisons] == [1, 16]
    for comparison in comparisons:
        cases = [comparison.ours, *comparison.peers.values()]
        assert all(DecodeCase(**json.loads(json.dumps(case.to_json()))) == case for case in cases)
        assert {UNITS[case.quantity] for case in cases} == {"milliseconds"}
        assert all(case.shape == comparison.ours.shape for case in cases)
        assert comparison.ours.shape.items() >= {"P": 64, "M": 128}.items()
        assert {(case.compiled, case.threads) for case in cases if case.process == "torch"} == {
            (compiled, threads) for compiled in (False, True) for threads in (1, 2)
        }
    assert (comparisons[0].ours.layers, comparisons[0].ours.width) in BARS


def test_ours_writes_the_tokens_of_plain_greedy_decoding():
    ready = decode_jax.prepare(CASE)
    model, text = decode_jax.model_of(CASE), prompts(CASE)
    variables = {"params": decode_jax.params_of(CASE)}
    for _ in range(CASE.new_tokens):
        text = np.concatenate([text, np.asarray(model.apply(variables, text))[:, -1:].argmax(-1)], axis=1)
    assert ready.digest == text[:, CASE.tokens :].tolist()
    assert ready.about == {"devices": 1}
    assert ready.sample()["value"] > 0


def test_reading_the_weights_takes_their_bytes_at_the_rate_that_is_measured(monkeypatch):
    monkeypatch.setattr(decode_jax, "READ_BYTES", 2**16)
    monkeypatch.setattr(decode_jax, "SAMPLE_SECONDS", 1e-3)
    ready = decode_jax.prepare(replace(CASE, who=READING))
    sample = ready.sample()
    assert ready.digest == []
    milliseconds = CASE.weight_bytes / sample["gigabytes_per_second"] / 1e6
    assert sample["value"] == pytest.approx(milliseconds)


def test_sizes_that_the_model_refuses_are_left_out():
    with pytest.raises(LeftOut, match="refused: 3 heads do not divide the width 8"):
        decode_jax.prepare(replace(CASE, heads=3))


def test_the_process_of_transformers_does_not_import_jax(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import sys\nraise ImportError('with jax' if 'jax' in sys.modules else 'alone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Group("test-1", logs=tmp_path, started=lambda **said: None) as group, pytest.raises(LeftOut, match="alone"):
        group.ask(replace(CASE, who="transformers", process="torch"), "prepare")


def test_more_threads_than_cores_are_left_out(monkeypatch):
    from attention_jax.bench import decode_torch

    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    with pytest.raises(LeftOut, match="2 threads want as many cores, and the process may use 1"):
        decode_torch.prepare(replace(CASE, who="transformers", process="torch", threads=2))


def test_transformers_writes_the_same_tokens():
    pytest.importorskip("torch", reason=NO_TRANSFORMERS)
    pytest.importorskip("transformers", reason=NO_TRANSFORMERS)
    from attention_jax.bench import decode_torch

    theirs = decode_torch.prepare(replace(CASE, who="transformers", process="torch"))
    assert theirs.digest == decode_jax.prepare(CASE).digest
    assert theirs.about == {"devices": 1, "threads": 1, "compiled": False}
    assert theirs.sample()["value"] > 0
