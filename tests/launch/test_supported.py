"""The commands that compute refuse the JAX that is wrong on a CPU; those that only tell answer under it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.launch.command_line import RECALL, ROOT, Answer, write_config
from tests.launch.test_refusals import DRIVER, assert_refused

WRONG_JAX = "import jax\njax.__version__ = '0.10.2'\n"
SPEC = "tests/launch/my_attention.py:my_attention"


def answers(commands: list[list[str]]) -> list[Answer]:
    """Runs commands one after the other in one process, whose JAX says that it is 0.10.2."""
    words = [sys.executable, "-c", WRONG_JAX + DRIVER]
    ran = subprocess.run(words, cwd=ROOT, input=json.dumps(commands), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [Answer(*answer) for answer in json.loads(ran.stdout)]


def test_every_command_that_computes_refuses_it_and_writes_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    before, workdir = sorted(tmp_path.iterdir()), f"--workdir={tmp_path / 'W'}"
    commands = [
        # First, since it tells JAX its devices.
        ["shard", config, "--devices=2"],
        *([command, config, workdir] for command in ("train", "eval", "compare")),
        ["explain", "scaled_dot", "--shape=1,16,1,8"],
        ["check", SPEC],
        ["bench", "attention", "--only=decode", workdir],
        ["bench", "step", workdir],
    ]
    for words, answer in zip(commands, answers(commands), strict=True):
        assert_refused(answer, ("jax 0.10.2", "wrong numbers on CPUs", "jax==0.10.1"), about=(words, answer))
    assert sorted(tmp_path.iterdir()) == before


def test_what_computes_nothing_answers(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    for answer in answers([["list"], ["show", "performer"], ["show", config], ["bench", "attention", "--list"]]):
        assert (answer.code, answer.err) == (0, ""), answer
