"""Several processes train as one does, and any number of them goes on from the checkpoint of any other number."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.launch.command_line import Answer, start
from tests.training import tiny

CONFIG = f"""
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({tiny.sections(evaluation={"every": 8, "batch_size": 8})!r})
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def losses(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(CONFIG)
    return path


def started(processes: int, *words: str, devices: int = 1) -> list[subprocess.Popen[str]]:
    """Starts a command in several processes that make one run."""
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}"}
    hosts: list[list[str]] = [[]]
    if processes > 1:
        shared = [f"--coordinator=localhost:{free_port()}", f"--processes={processes}"]
        hosts = [[*shared, f"--process_id={number}"] for number in range(processes)]
    return [start(*words, *host, environment=environment) for host in hosts]


def together(processes: int, *words: str, devices: int = 1) -> list[Answer]:
    """Runs a command in several processes to its end."""
    running = started(processes, *words, devices=devices)
    outputs = [process.communicate(timeout=300) for process in running]
    return [Answer(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


@pytest.fixture(scope="module")
def one(config, tmp_path_factory) -> Path:
    """The run of one process on one device."""
    workdir = tmp_path_factory.mktemp("one")
    (answer,) = together(1, "train", f"--config={config}", f"--workdir={workdir}")
    assert answer.code == 0, answer.err
    return workdir


@pytest.fixture(scope="module")
def four(config, tmp_path_factory) -> tuple[Path, list[Answer]]:
    """The run of four processes, the parameters in parts on them."""
    workdir = tmp_path_factory.mktemp("four")
    mesh = ["--config.mesh.data=1", "--config.mesh.fsdp=4"]
    return workdir, together(4, "train", f"--config={config}", f"--workdir={workdir}", *mesh)


@pytest.fixture
def stopped(four, tmp_path) -> Callable[[], Path]:
    """Makes a copy of the four processes' run as it was after step 18."""

    def copy() -> Path:
        workdir = tmp_path / "went_on"
        shutil.copytree(four[0], workdir)
        shutil.rmtree(workdir / "checkpoints" / "24")
        (workdir / "checkpoints" / "24.manifest.json").unlink()
        (workdir / "outcome.json").unlink()
        return workdir

    return copy


def assert_same_losses(workdir: Path, other: Path) -> None:
    here, there = losses(workdir), losses(other)
    assert [line["step"] for line in here] == [line["step"] for line in there]
    for line, wanted in zip(here, there, strict=True):
        assert line == pytest.approx(wanted, rel=1e-5)


def test_four_processes_give_the_losses_of_one_and_the_first_alone_speaks(one, four):
    workdir, answers = four
    assert [answer.code for answer in answers] == [0] * 4, answers
    assert_same_losses(workdir, one)
    first, *others = answers
    assert "test_loss" in first.out
    # Gloo, JAX's way between the CPUs of several processes, speaks for itself.
    assert not [line for answer in others for line in answer.out.splitlines() if not line.startswith("[Gloo]")]
    assert not any("step" in answer.err for answer in others)


def test_two_processes_go_on_from_the_checkpoint_of_four_on_another_mesh(config, one, stopped):
    workdir = stopped()
    mesh = ["--config.mesh.data=2", "--config.mesh.tensor=2"]
    answers = together(2, "train", f"--config={config}", f"--workdir={workdir}", *mesh, devices=2)
    assert [answer.code for answer in answers] == [0, 0], answers
    assert "resuming from the checkpoint of step 18" in answers[0].err
    assert_same_losses(workdir, one)


@pytest.mark.long
def test_one_process_goes_on_from_the_checkpoint_of_four(config, one, stopped):
    workdir = stopped()
    (answer,) = together(1, "train", f"--config={config}", f"--workdir={workdir}")
    assert answer.code == 0, answer.err
    assert "resuming from the checkpoint of step 18" in answer.err
    assert_same_losses(workdir, one)


SCORED = """
import jax.numpy as jnp
from dataclasses import replace
from attention_jax import tasks

@tasks.tasks.register
def likeliest():
    def collect(model, variables, batch, rng):
        return {"found": jnp.argmax(model.apply(variables, batch["inputs"]), -1), "targets": batch["targets"]}

    def score(rows, dataset):
        places = jnp.arange(len(rows["found"]))[:, None]
        return {"rows": len(places), "found": float((places * rows["found"]).sum() + (rows["targets"] > 0).sum())}

    scores = {"scores": ("rows", "found"), "collect": collect, "score": score}
    return replace(tasks.build("token_prediction"), **scores)
"""


@pytest.mark.long
def test_rows_that_are_scored_come_together_from_all_processes(tmp_path):
    config = tmp_path / "scored.py"
    config.write_text(CONFIG + SCORED)
    command = ("train", f"--config={config}", "--config.task.name=likeliest", "--config.steps=4")
    for processes, folder in ((1, "one"), (2, "two")):
        answers = together(processes, *command, f"--workdir={tmp_path / folder}")
        assert [answer.code for answer in answers] == [0] * processes, answers
    assert_same_losses(tmp_path / "two", tmp_path / "one")
    last = losses(tmp_path / "two")[-1]
    assert (last["validation_rows"], last["test_rows"]) == (10, 6)
    assert last["validation_found"] == losses(tmp_path / "one")[-1]["validation_found"]


def test_a_signal_to_one_process_stops_all_and_saves(config, tmp_path):
    running = started(2, "train", f"--config={config}", f"--workdir={tmp_path}", "--config.steps=100000")
    try:
        wait_for(tmp_path / "metrics.jsonl")
        running[1].send_signal(signal.SIGTERM)
        answers = [(*process.communicate(timeout=120), process.returncode) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [code for _, _, code in answers] == [128 + signal.SIGTERM] * 2, answers
    assert all("stopped and saved" in said for _, said, _ in answers)
    last = losses(tmp_path)[-1]["step"]
    assert (tmp_path / "checkpoints" / f"{last}.manifest.json").exists()


def test_a_folder_that_the_first_process_refuses_stops_all(config, one):
    mesh = ["--config.batch_size=4", "--config.evaluation.batch_size=4"]
    answers = together(2, "train", f"--config={config}", f"--workdir={one}", *mesh)
    assert [answer.code for answer in answers] == [2, 2], answers
    assert "holds the run of another config" in answers[0].err
    assert "the first process could not go on" in answers[1].err


def wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.05)
