"""Runs that are killed or stopped, at moments drawn from a seed, leave the bytes of a run that was not."""

import random
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from attention_jax.training.checkpoints import Checkpoints
from tests.launch.command_line import RECALL, launch, read_jsonl, start, write_config
from tests.launch.conftest import MODEL, Finished


def recorded(workdir: Path) -> int:
    """Returns how many whole lines the losses of a run have."""
    losses = workdir / "metrics.jsonl"
    return losses.read_bytes().count(b"\n") if losses.exists() else 0


def await_lines(process: subprocess.Popen[str], workdir: Path, lines: int) -> None:
    """Waits until a run has recorded that many lines, or has ended."""
    while recorded(workdir) < lines and process.poll() is None:
        time.sleep(0.002)


def test_a_run_that_was_killed_twice_leaves_the_same_losses(finished: Finished, tmp_path: Path) -> None:
    rng = random.Random(0)
    command = ("train", finished.config, f"--workdir={tmp_path}")
    for lines in (rng.randint(10, 50), rng.randint(60, 90)):
        process = start(*command, environment=finished.compiled)
        await_lines(process, tmp_path, lines)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    answer = launch(*command, environment=finished.compiled)
    assert answer.code == 0, answer.err
    assert "resuming from the checkpoint of step " in answer.err
    assert answer.out.splitlines()[0] == finished.answer.out.splitlines()[0]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()


def test_sigterm_and_ctrl_c_save_the_step_and_say_how_to_go_on(finished: Finished, tmp_path: Path) -> None:
    words = ["train", finished.config, f"--workdir={tmp_path}"]
    for number, lines in ((signal.SIGTERM, 20), (signal.SIGINT, 70)):
        process = start(*words, environment=finished.compiled)
        await_lines(process, tmp_path, lines)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out) == (128 + number, ""), err
        reached = read_jsonl(tmp_path / "metrics.jsonl")[-1]["step"]
        assert Checkpoints(tmp_path, keep=2, say=print).steps()[-1] == reached
        said, _, command = err.splitlines()[-1].partition(": ")
        assert said == "stopped and saved. To go on"
        assert shlex.split(command) == ["python", "launch.py", *words]
        words = shlex.split(command)[2:]
    answer = launch(*words, environment=finished.compiled)
    assert answer.code == 0, answer.err
    assert f"resuming from the checkpoint of step {reached}\n" in answer.err
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()


@pytest.mark.long
def test_ten_kills_at_any_moment_leave_the_same_losses(tmp_path: Path) -> None:
    """Three of them by the clock: while it imports, compiles, or writes its first files. Every process compiles."""
    rng = random.Random(1)
    config = write_config(tmp_path / "recall.py", {**RECALL, "model": MODEL, "steps": 600})
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert launch("train", config, f"--workdir={undisturbed}").code == 0
    kills = 0
    for attempt in range(10):
        process = start("train", config, f"--workdir={killed}")
        if attempt % 4 == 0:
            time.sleep(rng.uniform(0, 6))
        else:
            await_lines(process, killed, 55 * attempt + rng.randint(1, 50))
            time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 8
    assert launch("train", config, f"--workdir={killed}").code == 0
    assert (killed / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
