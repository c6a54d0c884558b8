"""A Python file of the user's own, run as a module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.base.python_file import load_python_file

NAME = "a_file_of_a_test"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Leaves no module behind."""
    yield
    sys.modules.pop(NAME, None)


def load(path: Path, source: str) -> object:
    path.write_text(source)
    return load_python_file(path, kind="lamp file", module=NAME)


def test_it_is_run_and_may_use_what_looks_up_its_own_module(tmp_path: Path) -> None:
    source = "from dataclasses import dataclass\n@dataclass\nclass Lamp:\n    watts: 'int' = 3\n"
    loaded = load(tmp_path / "lamp.py", source)
    assert loaded.Lamp().watts == 3  # type: ignore[attr-defined]
    assert sys.modules[NAME] is loaded


@pytest.mark.parametrize(
    ("file", "source", "error", "says"),
    [
        ("lamp.txt", "x = 1", Refused, r"lamp file '.*lamp\.txt' is not a Python file: give one that ends in \.py\."),
        ("lamp.py", "def x(:", Refused, r"lamp file '.*lamp\.py' is not valid Python: .*line 1"),
        ("lamp.py", "1 / 0", ZeroDivisionError, "division by zero"),
        ("lamp.py", "raise SystemExit(3)", SystemExit, "3"),
    ],
)
def test_one_that_fails_leaves_no_module(
    tmp_path: Path, file: str, source: str, error: type[BaseException], says: str
) -> None:
    with pytest.raises(error, match=says):
        load(tmp_path / file, source)
    assert NAME not in sys.modules
