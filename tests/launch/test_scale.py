"""Every command line of docs/scale.md is one that launch.py takes, of a config and keys that there are."""

import re
import shlex
from pathlib import Path

import pytest

from attention_jax.cli.main import parse
from attention_jax.training import config

ROOT = Path(__file__).parents[2]
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(), flags=re.DOTALL)
    for line in block.splitlines()
]


def words_of(line: str) -> list[str]:
    """Returns what launch.py is given in a line, which may hand it to another program whole, as one quoted word."""
    for word in shlex.split(line):
        if "launch.py" in word and " " in word:
            return words_of(word.partition("=")[2] if word.startswith("--") else word)
    words = shlex.split(line)
    return words[words.index("launch.py") + 1 :]


def test_there_are_command_lines_of_every_kind():
    assert len(LINES) >= 8
    for program in ("python", "srun", "sbatch", "gcloud"):
        assert any(line.startswith(program) for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_parsed_and_its_keys_are_those_of_the_config(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    parsed = parse(words_of(line))
    loaded = config.load(parsed.config, parsed.overrides)
    assert not config.is_comparison(loaded)
