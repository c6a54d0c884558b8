"""What each contestant computes: all the same, in whatever process; what cannot be run is left out."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attention_jax.bench import jax_side
from attention_jax.bench.cases import Case, LeftOut
from attention_jax.bench.group import Group, WorkerEnded
from attention_jax.bench.summary import LARGEST_DIFFERENCE, difference

CASE = Case(who="attention_jax", process="one_device", backward=True, batch=1, tokens=24, heads=2, width=8)


def result(case):
    return jax_side.prepare(case).digest


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "full"])
def test_ours_and_the_peers_compute_the_same_gradients(causal):
    ours = result(replace(CASE, causal=causal))
    assert [len(array) for array in ours] == [384] * 4
    for who in ("jax.nn", "flax.nnx"):
        assert difference(result(replace(CASE, who=who, causal=causal)), ours) < 1e-5
    assert difference(result(replace(CASE, causal=not causal)), ours) > LARGEST_DIFFERENCE


def test_sequences_of_several_lengths_are_padded_for_both():
    case = replace(CASE, batch=2, causal=False, padded=True)
    assert difference(result(replace(case, who="jax.nn")), result(case)) < 1e-5
    assert difference(result(replace(case, padded=False)), result(case)) > LARGEST_DIFFERENCE


def test_a_window_is_another_function_and_equals_its_first_tokens_alone():
    windowed = replace(CASE, window=3, compared=10)
    alone = replace(CASE, window=3, tokens=10, engine="dense")
    assert difference(result(windowed), result(alone)) < 1e-5
    assert difference(result(replace(CASE, compared=10)), result(alone)) > LARGEST_DIFFERENCE


def test_one_token_with_a_cache_equals_the_last_of_all():
    whole = replace(CASE, backward=False, compared=-1)
    ready = jax_side.prepare(replace(whole, quantity="step"))
    assert difference(ready.digest, result(whole)) < 1e-5
    sample = ready.sample()
    assert sample["value"] > 0
    assert sample["calls"] > 1


def test_memory_is_of_the_compiled_program():
    sizes = {
        quantity: jax_side.prepare(replace(CASE, who="jax.nn", tokens=512, quantity=quantity)).sample()["value"]
        for quantity in ("temporary", "total")
    }
    assert sizes["temporary"] > 2 * 512 * 512 * 4
    # XLA's result is a tuple, which has its pointers too.
    assert 0 <= sizes["total"] - sizes["temporary"] - replace(CASE, tokens=512).array_bytes < 100


def test_each_sample_of_the_compile_time_compiles_anew(monkeypatch):
    compiled = []
    plain = jax_side.Program.compiled
    monkeypatch.setattr(jax_side.Program, "compiled", lambda self: compiled.append(plain(self)) or compiled[-1])
    ready = jax_side.prepare(replace(CASE, quantity="compile", engine="dense"))
    times = [ready.sample()["value"] for _ in range(2)]
    assert len({id(program) for program in compiled}) == len(compiled) == 3
    assert min(times) > 1


def test_what_does_not_fit_the_memory_is_left_out(monkeypatch):
    monkeypatch.setattr(jax_side, "free_bytes", lambda: 2**10)
    with pytest.raises(LeftOut, match=r"it needs \d.* KiB, and 1.0 KiB are free"):
        jax_side.prepare(CASE)


def test_what_the_engine_refuses_is_left_out():
    with pytest.raises(LeftOut, match="refused: engine recurrence cannot run scaled_dot here"):
        jax_side.prepare(replace(CASE, engine="recurrence"))


def test_the_cores_are_not_compared_where_jax_computes_on_something_else(monkeypatch):
    monkeypatch.setattr(jax_side.jax, "default_backend", lambda: "gpu")
    with pytest.raises(LeftOut, match="JAX computes on a gpu here"):
        jax_side.prepare(replace(CASE, process="all_cores"))


def test_one_run_tells_the_time_and_the_peak():
    sample = jax_side.prepare(replace(CASE, quantity="peak")).sample()
    assert sample["value"] > 2**20
    assert sample["milliseconds"] > 0


FAKE_TORCH = "raise ImportError('not this one')"


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A group whose workers cannot import torch, and the list of those that were started."""
    (tmp_path / "torch.py").write_text(FAKE_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = []
    with Group("test-1", logs=tmp_path, started=lambda **said: started.append(said)) as group:
        yield group, started


def test_a_worker_a_core_gives_what_one_device_gives_and_ends_with_its_group(group):
    workers, started = group
    sharded = workers.ask(replace(CASE, process="all_cores"), "prepare")
    cores = len(os.sched_getaffinity(0))
    assert sharded["about"] == {"devices": max(count for count in (1, 2) if count <= cores)}
    assert difference(sharded["digest"], result(CASE)) < 1e-5
    assert workers.ask(replace(CASE, process="all_cores"), "sample")["value"] > 0
    (said,) = started
    assert said["environment"]["hardware"] == f"{cores} x cpu (cpu)"
    json.dumps(said)
    os.kill(said["pid"], 9)
    with pytest.raises(WorkerEnded, match="the worker all_cores ended with signal 9: "):
        workers.ask(replace(CASE, process="all_cores"), "sample")


def test_without_pytorch_its_worker_says_so_and_lives(group):
    workers, started = group
    for _ in range(2):
        with pytest.raises(LeftOut, match=r"torch cannot be imported \(not this one\): pip install"):
            workers.ask(replace(CASE, who="torch", process="torch"), "prepare")
    assert not started
    workers.forget()


def test_a_worker_that_fails_says_what_it_raised(group, tmp_path):
    workers, _ = group
    (tmp_path / "torch.py").write_text("raise RuntimeError('broken: in two')")
    with pytest.raises(
        WorkerEnded, match=r"the worker torch ended with code 1: RuntimeError: broken: in two \(all of it"
    ):
        workers.ask(replace(CASE, who="torch", process="torch"), "prepare")


def test_the_process_of_pytorch_does_not_import_jax(group, tmp_path):
    """A torch that says, when it is imported, what else is."""
    workers, _ = group
    (tmp_path / "torch.py").write_text("import sys\nraise ImportError('with jax' if 'jax' in sys.modules else 'alone')")
    with pytest.raises(LeftOut, match="alone"):
        workers.ask(replace(CASE, who="torch", process="torch"), "prepare")
    assert "jax" in sys.modules
    assert Path(tmp_path / "test-1-torch.log").exists()
