"""A worker process spoken to by hand, and where workers run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.places import Machine, this_machine, worker_environment

ROOT = Path(__file__).resolve().parents[3]


class Spoken:
    """A worker, the events that it has sent, and its end."""

    def __init__(self, *options: str, parent: int | None = None):
        read, write = os.pipe()
        words = [sys.executable, "-m", "attention_jax.study.engine.worker", f"--events={write}"]
        self.process = subprocess.Popen(
            [*words, f"--parent={parent or os.getpid()}", *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=[write],
            text=True,
        )
        os.close(write)
        self.events = os.fdopen(read)

    def hear(self, kind: str) -> dict[str, Any]:
        """Returns the next event of a kind, and leaves out those before it."""
        for line in self.events:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind:
                return event
        raise AssertionError(f"it ended without {kind}")

    def say(self, value: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()


def job(folder: Path, **config: object) -> dict[str, Any]:
    whole = {"trainer": "tests.study.trivial:train", "seed": 3, "steps": 40, **config}
    cell = {"config": whole, "folder": str(folder), "log": str(folder / "log.txt")}
    return {"do": "train", "cells": [cell], "program": "p", "prunes": False}


@pytest.fixture
def worker():
    spoken = Spoken()
    assert spoken.hear("ready")
    yield spoken
    spoken.process.kill()
    spoken.process.wait()


def test_it_trains_one_cell_after_the_other_and_ends_with_its_stdin(worker, tmp_path):
    for seed in (3, 4):
        worker.say(job(tmp_path / str(seed), seed=seed))
        done = worker.hear("done")
        assert (done["status"], done["outcome"]["score"], done["outcome"]["steps"]) == ("done", seed / 4, 40)
        assert done["facts"]["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    worker.process.stdin.close()
    assert worker.process.wait(timeout=10) == 0


def test_it_tells_steps_and_evaluations_and_waits_for_the_answer_where_it_is_asked_to(worker, tmp_path):
    worker.say({**job(tmp_path), "prunes": True})
    assert worker.hear("step")["steps"] == 40
    assert worker.hear("metric") == {
        "event": "metric", "cell": 0, "step": 20, "metric": "validation_loss", "value": 3.05
    }  # fmt: skip
    worker.say(True)
    assert worker.hear("metric")["step"] == 40
    worker.say(False)
    done = worker.hear("done")
    assert (done["status"], done["reason"], done["outcome"]["steps"]) == ("pruned", "pruned at step 40", 40)


def test_what_it_prints_is_in_the_log_of_the_cell(worker, tmp_path):
    worker.say(job(tmp_path / "a", at=0, fault="raise"))
    assert worker.hear("done")["reason"] == "ValueError: a bug of the variant's"
    assert "Traceback" in (tmp_path / "a" / "log.txt").read_text()
    worker.say(job(tmp_path / "b"))
    worker.hear("done")
    assert (tmp_path / "b" / "log.txt").read_text() == ""


def test_a_score_that_is_no_number_has_failed(worker, tmp_path):
    worker.say(job(tmp_path, seed=float("nan")))
    done = worker.hear("done")
    assert (done["status"], done["reason"]) == ("failed", "the run ended with score = nan")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_one_that_has_nothing_to_save(worker, number):
    worker.process.send_signal(number)
    assert worker.process.wait(timeout=10) == 128 + number


def test_it_stays_on_its_core_and_so_do_the_threads_that_it_makes():
    core = max(os.sched_getaffinity(0))
    spoken = Spoken(f"--cores={core}")
    spoken.hear("ready")
    assert os.sched_getaffinity(spoken.process.pid) == {core}
    spoken.process.kill()
    spoken.process.wait()


def test_it_ends_with_its_parent_however_that_ends(tmp_path):
    """A process between this one and the worker is killed; the worker is gone too, in the midst of a step."""
    between = f"""
import subprocess, sys, os, time
read, write = os.pipe()
worker = subprocess.Popen([sys.executable, "-m", "attention_jax.study.engine.worker", f"--events={{write}}",
                           f"--parent={{os.getpid()}}"], stdin=subprocess.PIPE, pass_fds=[write], text=True)
worker.stdin.write({json.dumps(json.dumps(job(tmp_path, at=5, fault="hang")))} + "\\n")
worker.stdin.flush()
print(worker.pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", between], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    steps = tmp_path / "steps.txt"
    deadline = time.monotonic() + 30
    while not steps.exists() or len(steps.read_text().splitlines()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_whose_parent_has_gone_does_not_begin():
    spoken = Spoken(parent=1)
    assert spoken.process.wait(timeout=10) == 1


CPU = Machine("cpu", (2, 5))
GPU = Machine("gpu", (0, 3))
TPU = Machine("tpu", (0, 1, 2, 3))
TPU8 = Machine("tpu", tuple(range(8)))


def environment(machine: Machine, worker: int, *, workers: int = 2, **environ: str) -> dict[str, str]:
    return worker_environment(machine, worker, workers=workers, cache=Path("/w/compiled"), environ=environ)


def test_a_worker_on_a_cpu_has_one_device_and_keeps_everything_that_it_compiles():
    found = environment(CPU, 1, HOME="/me")
    assert found == {
        "HOME": "/me",
        "JAX_COMPILATION_CACHE_DIR": "/w/compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_NUM_CPU_DEVICES": "1",
    }


def test_what_the_user_has_set_stays():
    own = {"JAX_COMPILATION_CACHE_DIR": "/mine", "TF_CPP_MIN_LOG_LEVEL": "0"}
    flags = "--xla_force_host_platform_device_count=4"
    found = environment(CPU, 0, XLA_FLAGS=flags, **own)
    assert {name: found[name] for name in own} == own
    assert found["XLA_FLAGS"] == flags
    assert "JAX_NUM_CPU_DEVICES" not in found


@pytest.mark.parametrize(("workers", "share"), [(2, "0.750"), (4, "0.375"), (3, "0.375")])
def test_workers_on_one_gpu_share_its_memory_and_see_no_other(workers, share):
    found = environment(GPU, 0, workers=workers, CUDA_VISIBLE_DEVICES="0,3")
    assert found["CUDA_VISIBLE_DEVICES"] == "0"
    assert found["XLA_PYTHON_CLIENT_MEM_FRACTION"] == share
    assert environment(GPU, 1, workers=workers)["CUDA_VISIBLE_DEVICES"] == "3"
    assert "JAX_NUM_CPU_DEVICES" not in found


def test_a_user_s_own_share_of_a_gpu_s_memory_stays():
    assert environment(GPU, 0, XLA_PYTHON_CLIENT_MEM_FRACTION="0.2")["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2"


def test_workers_on_a_tpu_see_a_chip_each_and_have_a_port_each():
    first, second = environment(TPU, 0), environment(TPU, 1)
    assert (first["TPU_VISIBLE_CHIPS"], second["TPU_VISIBLE_CHIPS"]) == ("0", "1")
    assert first["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,1,1"
    assert first["TPU_MESH_CONTROLLER_PORT"] != second["TPU_MESH_CONTROLLER_PORT"]


def test_there_is_a_worker_a_core_and_more_take_turns():
    assert CPU.workers(None) == 2
    assert CPU.workers(0) == 0
    assert CPU.workers(5) == 5
    assert [CPU.share(worker) for worker in range(5)] == [(2,), (5,), (2,), (5,), (2,)]
    with pytest.raises(Refused, match="--workers=-1: give 0"):
        CPU.workers(-1)


def test_workers_of_several_devices_divide_the_units_and_take_turns():
    pairs = TPU8.with_devices(4)
    assert pairs.workers(None) == 2
    assert [pairs.share(worker) for worker in range(3)] == [(0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 2, 3)]
    odd = Machine("gpu", (0, 1, 2)).with_devices(2)
    assert odd.workers(None) == 1
    assert [odd.share(worker) for worker in range(2)] == [(0, 1), (0, 1)]
    assert pairs.crowded(2) is None
    assert odd.crowded(2) == "2 x 2 devices share 3 GPUs"


def test_a_cpu_has_as_many_devices_as_are_asked_for_and_says_that_they_share_its_cores():
    wide = CPU.with_devices(4)
    assert wide.workers(None) == 1
    assert wide.share(0) == wide.share(1) == (2, 5)
    assert wide.crowded(1) == "1 x 4 devices share 2 cores"
    assert CPU.with_devices(2).crowded(1) is None
    assert environment(wide, 1)["JAX_NUM_CPU_DEVICES"] == "4"


def test_a_worker_of_several_gpus_sees_those_alone_and_shares_none():
    machine = Machine("gpu", (0, 3, 5, 6)).with_devices(2)
    first, second = (environment(machine, worker) for worker in (0, 1))
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0,3", "5,6")
    assert first["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.750"
    assert environment(machine, 0, workers=4)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.375"


@pytest.mark.parametrize(
    ("devices", "chips", "bounds"), [(1, "1", "1,1,1"), (4, "4,5,6,7", "2,2,1"), (8, "0,1,2,3,4,5,6,7", "2,4,1")]
)
def test_a_worker_of_several_chips_has_a_rectangle_of_them(devices, chips, bounds):
    found = environment(TPU8.with_devices(devices), 1)
    assert found["TPU_VISIBLE_CHIPS"] == chips
    assert (found["TPU_CHIPS_PER_PROCESS_BOUNDS"], found["TPU_PROCESS_BOUNDS"]) == (bounds, "1,1,1")


@pytest.mark.parametrize(
    ("machine", "devices", "said"),
    [
        ("CPU", 0, "--devices_per_cell=0: give at least 1; there are 2 cores."),
        ("GPU", -1, "--devices_per_cell=-1: give at least 1; there are 2 GPUs."),
        ("GPU", 3, "--devices_per_cell=3: there are 2 GPUs; give at most that."),
        ("TPU", 8, "--devices_per_cell=8: there are 4 TPU chips; give at most that."),
        ("TPU", 2, "--devices_per_cell=2: a worker has a rectangle of a TPU's chips: give one of 1, 4."),
    ],
)
def test_devices_that_a_worker_cannot_have_are_refused(machine, devices, said):
    with pytest.raises(Refused) as refusal:
        globals()[machine].with_devices(devices)
    assert str(refusal.value) == said


def test_this_machine_is_what_the_user_says_where_there_are_devices(tmp_path):
    cores = tuple(sorted(os.sched_getaffinity(0)))
    assert this_machine({"JAX_PLATFORMS": "cpu"}, tmp_path) == Machine("cpu", cores)
    assert this_machine({"JAX_PLATFORMS": "cuda"}, tmp_path) == Machine("cpu", cores)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    assert this_machine({"JAX_PLATFORMS": "cuda"}, tmp_path) == Machine("gpu", (0, 1))
    assert this_machine({"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "1"}, tmp_path) == Machine("gpu", (1,))
