"""What the commands of these tests compile, kept for the next; and one training run that nothing disturbed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, Answer, launch, write_config

# Dropout and drawn features: a run that loses its random state, or draws it anew, cannot leave the same losses.
MODEL = {**RECALL["model"], "dropout_rate": 0.1, "attention": "performer:features=8"}


@dataclass(frozen=True)
class Finished:
    """The option that names its config, its folder, and what it said."""

    config: str
    workdir: Path
    answer: Answer


@pytest.fixture(scope="package", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one command compiles serves the others: compiling takes most of the time of many.

    XLA's words on loading a program are left out: jaxlib 0.10.1 takes its own preferences, such as +prefer-no-gather,
    for features of another machine.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        yield


@pytest.fixture(scope="package")
def finished(compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Trains 120 steps, a checkpoint every 7."""
    folder = tmp_path_factory.mktemp("finished")
    sections = {**RECALL, "model": MODEL, "steps": 120}
    config = write_config(folder / "recall.py", sections)
    answer = launch("train", config, f"--workdir={folder / 'run'}")
    assert answer.code == 0, answer.err
    return Finished(config, folder / "run", answer)
