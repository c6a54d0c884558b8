"""A process whose training step never returns: what it says, and that a second signal ends it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, ROOT, launch, read_jsonl, write_config

# Checkpoints are made after steps 7 and 14.
STUCK_AT = 17
PATIENCE = 120
HINT = (
    "a signal has come, and the run is saved and stopped once step 17 returns; a second signal ends it without saving"
)


@dataclass
class Stuck:
    """A process and what it said so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def await_that(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)
        # One of a kind that waits to be delivered is all that the kernel remembers.
        time.sleep(0.2)

    def ended(self) -> int:
        return self.process.wait(timeout=20)


def start(folder: Path, *words: str, at: int = STUCK_AT, how: str = "deaf") -> Stuck:
    log = folder / "log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "tests.launch.stuck", how, str(at), *words]
        return Stuck(subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file), log)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_config(tmp_path / "recall.py", {**RECALL, "steps": 30})


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_one_signal_is_noted_and_a_second_ends_it(tmp_path: Path, config: str, number: int) -> None:
    command = ("train", config, f"--workdir={tmp_path / 'W'}")
    stuck = start(tmp_path, *command)
    stuck.await_that(lambda: "is slow" in stuck.said)
    usual = r"step 17 is slow: [12]s so far, and the median of those before it is 0\.\d+ s"
    assert re.fullmatch(usual, stuck.said.splitlines()[-1])

    stuck.send(number)
    stuck.await_that(lambda: HINT in stuck.said)
    time.sleep(1.5)
    assert stuck.process.poll() is None, "it runs on"
    assert (stuck.said.count("is slow"), stuck.said.count("a signal has come")) == (1, 1)

    before = stuck.said
    stuck.send(number)
    assert stuck.ended() == 128 + number
    assert stuck.said.removeprefix(before) == (
        "stopped by a second signal: step 17 did not return, and nothing was saved after step 14: "
        "the same command goes on from the last checkpoint\n"
    )

    answer = launch(*command)
    assert answer.code == 0, answer.err
    assert "resuming from the checkpoint of step 14" in answer.err
    losses = [line["step"] for line in read_jsonl(tmp_path / "W" / "metrics.jsonl") if "train_loss" in line]
    assert losses == [*range(1, 31)]


def test_one_that_hears_signals_does_not_wait_for_the_step_when_it_exits(tmp_path: Path, config: str) -> None:
    stuck = start(tmp_path, "train", config, f"--workdir={tmp_path / 'W'}", how="exit")
    stuck.await_that(lambda: "is slow" in stuck.said)
    stuck.send(signal.SIGINT)
    stuck.send(signal.SIGTERM)
    assert stuck.ended() == 128 + signal.SIGTERM
    last = stuck.said.splitlines()[-1]
    assert last.startswith("stopped by a second signal: step 17 did not return, and nothing was saved after step 14: ")
    assert "Traceback" not in stuck.said


def test_the_first_step_has_none_to_be_compared_with(tmp_path: Path, config: str) -> None:
    stuck = start(tmp_path, "train", config, f"--workdir={tmp_path / 'W'}", at=1)
    stuck.await_that(lambda: "is slow" in stuck.said)
    assert re.search(r"^step 1 is slow: \d+s so far, and none has returned yet$", stuck.said, re.MULTILINE)
    stuck.send(signal.SIGTERM)
    stuck.send(signal.SIGTERM)
    assert stuck.ended() == 128 + signal.SIGTERM
    assert "nothing was saved: there is no checkpoint, and the same command begins anew" in stuck.said


def test_a_comparison_is_ended_too_and_goes_on(tmp_path: Path, config: str) -> None:
    words = ("compare", config, f"--workdir={tmp_path / 'W'}", "--variants=scaled_dot", "--seeds=0", "--workers=0")
    stuck = start(tmp_path, *words)
    stuck.await_that(lambda: "step 17 is slow" in stuck.said)
    stuck.send(signal.SIGTERM)
    stuck.send(signal.SIGINT)
    assert stuck.ended() == 128 + signal.SIGINT
    assert "recall / scaled_dot / seed 0: stopped by a second signal: step 17 did not return" in stuck.said
    answer = launch(*words)
    assert answer.code == 0, answer.err
    assert "resuming from the checkpoint of step 14" in answer.err
