"""One experiment, compiled once, and one run of it that nothing disturbed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pytest

from attention_jax.training import Experiment, Outcome
from tests.training import tiny


class Undisturbed(NamedTuple):
    """A run from the first step to the last, and the bytes of its metrics."""

    workdir: Path
    outcome: Outcome
    said: str
    metrics: bytes


@pytest.fixture(scope="package", autouse=True)
def _quick_compilation() -> Iterator[None]:
    """Compiles with few optimisations: it takes half the time, and nothing here measures speed."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="package")
def experiment() -> Experiment:
    return Experiment(**tiny.sections())


@pytest.fixture(scope="package")
def undisturbed(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    workdir = tmp_path_factory.mktemp("undisturbed")
    outcome, said = tiny.run(experiment, workdir)
    return Undisturbed(workdir, outcome, said, (workdir / "metrics.jsonl").read_bytes())


@pytest.fixture
def written(tmp_path) -> Callable[..., str]:
    """Writes a config file that returns these entries, and returns its path."""

    def write(entries: dict[str, Any], *, signature: str = "") -> str:
        path = tmp_path / "exp.py"
        path.write_text(
            f"from ml_collections import ConfigDict\ndef get_config({signature}):\n    return ConfigDict({entries!r})\n"
        )
        return str(path)

    return write
