"""Every way of spreading a run over eight devices trains as one device does, by the collectives that it should."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.parallel.strategies import MODEL, STRATEGIES

ROOT = Path(__file__).parents[3]
WIDTH, HEADS = MODEL["width"], MODEL["num_heads"]
# The kernels of a block, whole: as the matrices that are multiplied, and as they are kept.
MATRICES = ([WIDTH, WIDTH], [WIDTH, 4 * WIDTH], [4 * WIDTH, WIDTH])
KERNELS = (*MATRICES, [WIDTH, HEADS, WIDTH // HEADS], [HEADS, WIDTH // HEADS, WIDTH])


# One of each axis, the product of three, and a layer at a time; `make test-long` trains the others beside them.
DEFAULT = ["one", "data", "fsdp", "tensor", "all_to_all", "fsdp tensor ring", "one scanned", "fsdp scanned"]
UNGATHERED = ("tensor", "data tensor linear", "ring", "all_to_all", "all_gather")


def tried(name: str, *more: Any) -> Any:
    """A parameter: the name of a strategy, and what else there is of it."""
    return pytest.param(name, *more, marks=() if name in DEFAULT else pytest.mark.long)


class Found(dict[str, dict[str, Any]]):
    """What strategies give, by name: those of the default suite in one process, all others in another."""

    def __missing__(self, name: str) -> dict[str, Any]:
        self.update(train(DEFAULT if name in DEFAULT else [other for other in STRATEGIES if other not in DEFAULT]))
        return self[name]


@pytest.fixture(scope="module")
def found() -> Found:
    return Found()


def train(names: list[str]) -> dict[str, dict[str, Any]]:
    """Returns what strategies.py prints of them."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.parallel.strategies", *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def alone(name: str) -> str:
    """The strategy on one device that trains the same model."""
    return f"one {name.rpartition(' ')[2]}" if name.endswith(("accumulated", "scanned", "linear")) else "one"


@pytest.mark.parametrize("name", [*map(tried, STRATEGIES)])
def test_the_losses_are_those_of_one_device(found, name):
    # float32: the order of the sums is all that differs, and 20 steps let it grow.
    assert found[name]["losses"] == pytest.approx(found[alone(name)]["losses"], rel=2e-6, abs=2e-6)


def test_training_changes_the_loss(found):
    losses = found["one"]["losses"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        tried("one", set(), {"all-reduce", "all-gather", "all-to-all", "collective-permute"}),
        tried("data", {"all-reduce"}, {"all-gather", "all-to-all", "collective-permute"}),
        tried("fsdp", {"all-gather"}, {"all-to-all", "collective-permute"}),
        tried("tensor", {"all-reduce"}, {"all-gather", "all-to-all", "collective-permute"}),
        tried("ring", {"collective-permute", "all-reduce"}, {"all-to-all"}),
        tried("all_to_all", {"all-to-all", "all-reduce"}, {"collective-permute"}),
        tried("all_gather", {"all-gather", "all-reduce"}, {"all-to-all"}),
        tried("data fsdp tensor", {"all-gather", "all-reduce"}, {"all-to-all"}),
        tried("fsdp tensor ring", {"all-gather", "all-reduce", "collective-permute"}, {"all-to-all"}),
    ],
)
def test_the_step_holds_the_collectives_of_its_strategy(found, name, has, lacks):
    kinds = {kind for kind, _ in found[name]["collectives"]}
    assert has <= kinds
    assert not kinds & lacks


@pytest.mark.parametrize("name", [tried(name) for name in UNGATHERED])
def test_no_kernel_is_gathered_that_need_not_be(found, name):
    assert not [shape for shape in gathered(found, name) if shape in KERNELS]


def gathered(found, name):
    return [shape for kind, shape in found[name]["collectives"] if kind == "all-gather"]


def test_fsdp_gathers_each_kernel(found):
    assert all(kernel in gathered(found, "fsdp") for kernel in MATRICES)


@pytest.mark.long
def test_with_tensor_parallelism_too_fsdp_gathers_the_part_that_the_heads_and_units_of_a_device_need(found):
    assert not [shape for shape in gathered(found, "data fsdp tensor") if shape in KERNELS]


def test_fsdp_gathers_a_layer_at_a_time_where_layers_are_scanned(found):
    shapes = gathered(found, "fsdp scanned")
    assert all(kernel in shapes for kernel in MATRICES)
    assert not [shape for shape in shapes if shape[1:] in KERNELS]


@pytest.mark.parametrize(("name", "parts"), [tried("fsdp", 8), tried("data fsdp tensor", 4), tried("fsdp scanned", 8)])
def test_the_state_of_a_device_falls_with_the_devices_it_is_split_over(found, name, parts):
    whole, held = found[alone(name)], found[name]
    # Norms, biases and, over "tensor", embeddings are whole on each device.
    assert whole["held"] / parts <= held["held"] < 1.35 * whole["held"] / parts
    assert held["arguments"] < 1.4 * whole["arguments"] / parts
