"""Runs that are killed or stopped, at moments drawn from a seed, leave the bytes of a run that was not."""

import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from attention_jax.training import Experiment
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.config import load, plain
from attention_jax.training.run.workdir import read_lines
from tests.launch.command_line import RECALL, ROOT, launch, read_jsonl, start, write_config
from tests.launch.conftest import MODEL, Finished
from tests.training.disturbance import final_state


def recorded(workdir: Path) -> int:
    """Returns how many whole lines the losses of a run have."""
    return losses(workdir).count(b"\n")


def await_lines(process: subprocess.Popen[str], workdir: Path, lines: int) -> None:
    """Waits until a run has recorded that many lines, or has ended."""
    while recorded(workdir) < lines and process.poll() is None:
        time.sleep(0.002)


def test_a_run_that_was_killed_twice_leaves_the_same_losses(finished: Finished, tmp_path: Path) -> None:
    rng = random.Random(0)
    command = ("train", finished.config, f"--workdir={tmp_path}")
    for lines in (rng.randint(10, 50), rng.randint(60, 90)):
        process = start(*command)
        await_lines(process, tmp_path, lines)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    answer = launch(*command)
    assert answer.code == 0, answer.err
    assert "resuming from the checkpoint of step " in answer.err
    assert answer.out.splitlines()[0] == finished.answer.out.splitlines()[0]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()


def test_sigterm_and_ctrl_c_save_the_step_and_say_how_to_go_on(finished: Finished, tmp_path: Path) -> None:
    words = ["train", finished.config, f"--workdir={tmp_path}"]
    for number, lines in ((signal.SIGTERM, 20), (signal.SIGINT, 70)):
        process = start(*words)
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
    answer = launch(*words)
    assert answer.code == 0, answer.err
    assert f"resuming from the checkpoint of step {reached}\n" in answer.err
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()


def test_a_disk_without_room_for_the_last_checkpoint_fails_the_run_in_words_alone(
    finished: Finished, tmp_path: Path
) -> None:
    """The size of its files is limited from outside while it runs: a checkpoint's are larger than that."""
    options = [finished.config, "--config.log.every=1000", "--config.log.tensorboard=false", f"--workdir={tmp_path}"]
    process = start("train", *options)
    while not whole(tmp_path) and process.poll() is None:
        time.sleep(0.002)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    *before, last = [line for line in err.splitlines() if "could not be saved" in line]
    kept = f"could not be saved (File too large); the checkpoint of step {whole(tmp_path)[-1]} is kept"
    assert last == f"failed: checkpoint of step 120 {kept}. Once there is room, the same command goes on from there."
    assert before
    assert all(line.endswith(f"{kept} and the run goes on") for line in before)
    # What else it says is where its results are, its evaluations, and on a slow machine its progress.
    others = [line for line in err.splitlines() if "could not be saved" not in line]
    assert all(re.match(r"3,552 parameters|step \d+/120  (validation|loss)", line) for line in others), err
    assert not unfinished(tmp_path)


class Struck:
    """One process of a run that is to be killed, and what it had said and written when it was."""

    def __init__(self, config: str, workdir: Path, log: Path):
        self.workdir, self.log = workdir, log
        self.whole_before, self.started = whole(workdir), time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "launch.py", "train", config, f"--workdir={workdir}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=log.open("w"),
        )

    def await_that(self, condition: Callable[[], object]) -> None:
        """Returns when it is so, or the process has ended."""
        while not condition() and self.process.poll() is None:
            time.sleep(0.001)

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def kill(self) -> bool:
        """Kills it, and returns whether it was alive."""
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def restored(self) -> bool:
        """Returns whether it is past restoring, with the rests of the process before it removed."""
        return self.said("resuming" if self.whole_before else "results in")

    def phase(self) -> str:
        """Returns what it was at, as the files tell."""
        if not self.said("results in"):
            return "starting"
        if not self.restored():
            return "restoring"
        if unfinished(self.workdir):
            return "saving"
        lines = read_lines(self.workdir / "metrics.jsonl")
        if not lines or lines[-1]["step"] <= max(self.whole_before, default=0):
            return "compiling"
        return "evaluating" if lines[-1]["step"] % 10 == 0 and "train_loss" in lines[-1] else "training"

    def check(self, expected: bytes) -> None:
        """Checks that it went on from the last whole checkpoint, and that its losses begin those expected."""
        said = self.log.read_text()
        assert "damaged" not in said
        if self.whole_before and "resuming" in said:
            assert f"resuming from the checkpoint of step {self.whole_before[-1]}\n" in said
        there = losses(self.workdir)
        assert expected.startswith(there[: there.rfind(b"\n") + 1])


def losses(workdir: Path) -> bytes:
    path = workdir / "metrics.jsonl"
    return path.read_bytes() if path.exists() else b""


def whole(workdir: Path) -> list[int]:
    """Returns the steps whose checkpoints have a manifest."""
    manifests = (workdir / "checkpoints").glob("*.manifest.json")
    return sorted(int(path.name.partition(".")[0]) for path in manifests)


def unfinished(workdir: Path) -> set[str]:
    """Returns the folders of checkpoints that have no manifest."""
    folders = {path.name for path in (workdir / "checkpoints").glob("*") if path.is_dir()}
    return folders - set(map(str, whole(workdir)))


def strike(struck: Struck, rng: random.Random, seconds_to_start: float) -> None:
    """Waits for a moment drawn over the life of a process."""
    aim, last = rng.choice(["start", "restore", "train", "save", "evaluate"]), max(struck.whole_before, default=0)
    if aim == "start":
        time.sleep(rng.uniform(0, 1.2 * seconds_to_start))
        return
    if aim == "restore":
        struck.await_that(lambda: struck.said("results in"))
        time.sleep(rng.uniform(0, 1))
        return
    struck.await_that(struck.restored)
    if aim == "save":
        later = last + rng.choice([0, 5])
        struck.await_that(lambda: max(whole(struck.workdir), default=0) >= later and unfinished(struck.workdir))
        time.sleep(rng.uniform(0, 0.05))
    else:
        step = last // 10 * 10 + 10 * rng.randint(1, 2) if aim == "evaluate" else last + rng.randint(1, 15)
        text = f'{{"step": {step}, '.encode()
        struck.await_that(lambda: text in losses(struck.workdir))
        time.sleep(rng.uniform(0, 0.01))


@pytest.mark.long
def test_fifty_kills_at_any_moment_leave_the_same_parameters(tmp_path: Path) -> None:
    """Whether it imports, restores, compiles, trains, evaluates or saves. Nine minutes on 2 busy cores."""
    rng, phases = random.Random(1), Counter[str]()
    sections = {**RECALL, "model": MODEL, "steps": 900, "checkpoint": {"every": 5}, "accumulation": 2, "ema_decay": 0.9}
    config = write_config(tmp_path / "recall.py", sections)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert launch("train", config, f"--workdir={undisturbed}").code == 0
    expected, seconds_to_start = losses(undisturbed), 0.0
    while phases.total() < 50:
        struck = Struck(config, killed, tmp_path / "log")
        if not phases:
            struck.await_that(lambda: recorded(killed) > 0)
            seconds_to_start = time.monotonic() - struck.started
        else:
            strike(struck, rng, seconds_to_start)
        assert struck.kill(), f"it ended by itself after {phases.total()} kills: {struck.log.read_text()}"
        phases[struck.phase()] += 1
        struck.check(expected)
    print(f"{dict(phases)}; a start takes {seconds_to_start:.1f} s; step {whole(killed)[-1]} was saved")
    assert phases.keys() >= {"starting", "saving", "training"}
    assert launch("train", config, f"--workdir={killed}").code == 0
    assert losses(killed) == expected
    assert not (killed / "damaged_checkpoints").exists()
    experiment = Experiment(**plain(load(config.partition("=")[2])))
    assert final_state(experiment, killed) == final_state(experiment, undisturbed)
