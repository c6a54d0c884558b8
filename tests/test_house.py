"""Who imports whom: the rooms of the house see the rooms below them, and the kernels see the ground floor alone."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSE = "attention_jax"
FLOORS = {
    "base": 0,
    "kernels": 1,
    "layers": 2,
    "models": 3,
    "data": 3,
    "decoding": 4,
    "tasks": 4,
    "interop": 5,
    "training": 5,
    "study": 6,
    "bench": 6,
    "contract": 6,
    "cli": 7,
    "launch": 8,
}
# Rooms of a room have floors of their own. What is of no room, such as study/compare.py, is above them.
ROOMS_OF = {
    "training": {"run": 0, "parallel": 0},
    "study": {
        "engine": 0,
        "statistics": 0,
        "search": 0,
        "baselines": 0,
        "comparison": 1,
        "report": 2,
        "look": 3,
        "sweep": 3,
        "reproduction": 4,
    },
}
# Neighbours on one floor that may not see each other: a task joins a model to its data.
APART = {("models", "data"), ("data", "models")}
MAY_IMPORT = {"base": {*sys.stdlib_module_names}, "kernels": {"jax", "numpy", "jaxtyping", *sys.stdlib_module_names}}


def imports(source: str, *, module: str) -> Iterator[str]:
    """Yields the full name of everything that `source` imports, wherever in the file, relative imports resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, node.module] if node.module else package)
            # "from attention_jax import data" imports the room, not the house.
            yield from (f"{origin}.{alias.name}" if origin == HOUSE else origin for alias in node.names)


def broken_rules(source: str, *, module: str) -> list[str]:
    """Returns, in words, each import of `module` that goes up, to a neighbour kept apart, or out of the kernels."""
    room = module.split(".")[1] if module.startswith(f"{HOUSE}.") else "launch"
    broken = []
    for name in imports(source, module=module):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top == "tests":
            broken.append(f"{module} imports {name}: the tests are not installed")
        elif top != HOUSE:
            if room in MAY_IMPORT and top not in MAY_IMPORT[room]:
                broken.append(f"{module} imports {name}: base takes Python alone, kernels jax, numpy and jaxtyping")
        elif other not in FLOORS or room not in FLOORS:
            broken.append(f"{module} imports {name}: give {other if room in FLOORS else room} a floor in this test")
        elif FLOORS[other] > FLOORS[room] or (room, other) in APART:
            broken.append(f"{module} imports {name}: {room} may not see {other}")
    return broken


def modules() -> dict[str, Path]:
    """Returns every module of the house, by its full name."""
    files = [*(ROOT / HOUSE).rglob("*.py"), *ROOT.glob("launch.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(files)}
    return {module: path for module, path in named.items() if module != f"{HOUSE}.__init__"}


def test_every_file_has_a_room():
    assert [path.name for path in (ROOT / HOUSE).glob("*.py")] == ["__init__.py"]


def test_every_room_has_a_floor():
    rooms = {path.name for path in (ROOT / HOUSE).iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= FLOORS.keys()
    assert "kernels" in rooms


def test_nothing_is_imported_from_above():
    broken = [rule for module, path in modules().items() for rule in broken_rules(path.read_text(), module=module)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("house", ROOMS_OF)
def test_nothing_in_a_room_of_rooms_is_imported_from_above(house):
    prefix, floors, broken = f"{HOUSE}.{house}.", ROOMS_OF[house], []
    for module, path in modules().items():
        room, _, leaf = module.removeprefix(prefix).partition(".")
        if not module.startswith(prefix) or not leaf:
            continue
        for name in imports(path.read_text(), module=module):
            other = name.removeprefix(prefix).partition(".")[0]
            if name.startswith(prefix) and floors.get(other, len(floors)) > floors[room]:
                broken.append(f"{module} imports {name}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "source", "breaks"),
    [
        ("attention_jax.kernels.mask", "from attention_jax.layers.norm import Norm", True),
        ("attention_jax.kernels.mask", "import flax.linen as nn", True),
        ("attention_jax.kernels.mask", "def f():\n    import optax", True),
        ("attention_jax.kernels.mask", "from .. import layers", True),
        ("attention_jax.kernels.mask", "from . import cache\nimport jax.numpy as jnp\nimport ast", False),
        ("attention_jax.kernels.mask", "from attention_jax.base.errors import Refused", False),
        ("attention_jax.base.errors", "import numpy", True),
        ("attention_jax.base.errors", "from attention_jax.kernels import lookup", True),
        ("attention_jax.layers.norm", "import flax.linen as nn\nfrom attention_jax.kernels import attend", False),
        ("attention_jax.models.gpt", "from attention_jax.data import batches", True),
        ("attention_jax.models.gpt", "from attention_jax import data", True),
        ("attention_jax.data.batches", "import attention_jax.models.gpt", True),
        (
            "attention_jax.tasks.task",
            "from attention_jax.models.gpt import Gpt\nfrom attention_jax.data import x",
            False,
        ),
        ("attention_jax.tasks.task", "from attention_jax.training.loop import train", True),
        ("attention_jax.training.loop", "from attention_jax.attic import x", True),
        ("attention_jax.contract.cases", "from tests.oracle import equations", True),
        ("launch", "from attention_jax.study.comparison import source", False),
        ("attention_jax.cli.train", "from attention_jax.training import train", False),
        ("attention_jax.study.compare", "from attention_jax.cli import running", True),
        ("attention_jax.study.comparison.source", "from attention_jax.launch import main", True),
    ],
)
def test_the_reader_of_imports_sees_what_it_should(module, source, breaks):
    assert bool(broken_rules(source, module=module)) == breaks
