"""Every way of spreading a run over eight devices trains as one device does, by the collectives that it should."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.strategies import MODEL, STRATEGIES

ROOT = Path(__file__).parents[2]
WIDTH, HEADS = MODEL["width"], MODEL["num_heads"]
# The kernels of a block, whole: as the matrices that are multiplied, and as they are kept.
MATRICES = ([WIDTH, WIDTH], [WIDTH, 4 * WIDTH], [4 * WIDTH, WIDTH])
KERNELS = (*MATRICES, [WIDTH, HEADS, WIDTH // HEADS], [HEADS, WIDTH // HEADS, WIDTH])


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.strategies"],
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


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_losses_are_those_of_one_device(found, name):
    # float32: the order of the sums is all that differs, and 20 steps let it grow.
    assert found[name]["losses"] == pytest.approx(found[alone(name)]["losses"], rel=2e-6, abs=2e-6)


def test_training_changes_the_loss(found):
    losses = found["one"]["losses"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("one", set(), {"all-reduce", "all-gather", "all-to-all", "collective-permute"}),
        ("data", {"all-reduce"}, {"all-gather", "all-to-all", "collective-permute"}),
        ("fsdp", {"all-gather"}, {"all-to-all", "collective-permute"}),
        ("tensor", {"all-reduce"}, {"all-gather", "all-to-all", "collective-permute"}),
        ("ring", {"collective-permute", "all-reduce"}, {"all-to-all"}),
        ("all_to_all", {"all-to-all", "all-reduce"}, {"collective-permute"}),
        ("all_gather", {"all-gather", "all-reduce"}, {"all-to-all"}),
        ("data fsdp tensor", {"all-gather", "all-reduce"}, {"all-to-all"}),
        ("fsdp tensor ring", {"all-gather", "all-reduce", "collective-permute"}, {"all-to-all"}),
    ],
)
def test_the_step_holds_the_collectives_of_its_strategy(found, name, has, lacks):
    kinds = {kind for kind, _ in found[name]["collectives"]}
    assert has <= kinds
    assert not kinds & lacks


@pytest.mark.parametrize("name", ["tensor", "data tensor linear", "ring", "all_to_all", "all_gather"])
def test_no_kernel_is_gathered_that_need_not_be(found, name):
    gathered = [shape for kind, shape in found[name]["collectives"] if kind == "all-gather"]
    assert not [shape for shape in gathered if shape in KERNELS]


def test_fsdp_gathers_each_kernel_and_tensor_leaves_it_split(found):
    def gathered(name):
        return [shape for kind, shape in found[name]["collectives"] if kind == "all-gather"]

    assert all(kernel in gathered("fsdp") for kernel in MATRICES)
    # With tensor parallelism too, a device gathers the part of a kernel that its heads and units need.
    assert not [shape for shape in gathered("data fsdp tensor") if shape in KERNELS]


def test_fsdp_gathers_a_layer_at_a_time_where_layers_are_scanned(found):
    shapes = [shape for kind, shape in found["fsdp scanned"]["collectives"] if kind == "all-gather"]
    assert all(kernel in shapes for kernel in MATRICES)
    assert not [shape for shape in shapes if shape[1:] in KERNELS]


@pytest.mark.parametrize(("name", "parts"), [("fsdp", 8), ("data fsdp tensor", 4), ("fsdp scanned", 8)])
def test_the_state_of_a_device_falls_with_the_devices_it_is_split_over(found, name, parts):
    whole, held = found[alone(name)], found[name]
    # Norms, biases and, over "tensor", embeddings are whole on each device.
    assert whole["held"] / parts <= held["held"] < 1.35 * whole["held"] / parts
    assert held["arguments"] < 1.4 * whole["arguments"] / parts
