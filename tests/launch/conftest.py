"""One training run that nothing disturbed, for the tests that ask whether another one equals it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, Answer, compiled_once, launch, write_config

# Dropout and drawn features: a run that loses its random state, or draws it anew, cannot leave the same losses.
MODEL = {**RECALL["model"], "dropout_rate": 0.1, "attention": "performer:features=8"}


@dataclass(frozen=True)
class Finished:
    """The option that names its config, its folder, what it said, and the variables that spare compiling it again."""

    config: str
    workdir: Path
    answer: Answer
    compiled: dict[str, str]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Trains 120 steps, a checkpoint every 7. What it compiles is kept for whoever takes the variables."""
    folder = tmp_path_factory.mktemp("finished")
    sections = {**RECALL, "model": MODEL, "steps": 120}
    config = write_config(folder / "recall.py", sections)
    compiled = compiled_once(folder)
    answer = launch("train", config, f"--workdir={folder / 'run'}", environment=compiled)
    assert answer.code == 0, answer.err
    return Finished(config, folder / "run", answer, compiled)
