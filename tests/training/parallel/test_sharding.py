"""The mesh: its sizes and what is refused; and a layer and its step on two devices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from attention_jax.kernels import Refused
from attention_jax.layers.spread import AXES
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh, one_step_at_a_time

# What eight devices are asked for: the sizes, and the rows of a batch. All in one process, since starting takes longer.
FITTING = {
    "all of the batch": ({}, 8),
    "the most that divide it": ({}, 6),
    "and no more than a batch of a prime has": ({}, 13),
    "fewer than there are": ({"data": 2}, 8),
    "data beside fsdp": ({"fsdp": 2}, 8),
    "rows are split over fsdp too": ({"fsdp": 2}, 6),
    "data beside tensor": ({"tensor": 2}, 8),
    "fsdp filled": ({"data": 2, "fsdp": -1}, 8),
    "tensor filled": ({"data": 1, "tensor": -1}, 1),
    "sequence filled": ({"data": 2, "sequence": -1}, 4),
    "filled by what is left of an odd number": ({"data": 3, "tensor": -1}, 3),
    "all four": ({"data": 1, "fsdp": 2, "tensor": 2, "sequence": 2}, 2),
}
REFUSED = {
    "two open": ({"fsdp": -1}, 8),
    "three open": ({"fsdp": -1, "sequence": -1}, 8),
    "zero": ({"tensor": 0}, 8),
    "less than -1": ({"data": 1, "sequence": -2}, 8),
    "too many": ({"data": 16}, 16),
    "too many together": ({"data": 3, "fsdp": 3}, 9),
    "too many beside an open one": ({"fsdp": 9}, 9),
    "rows that data does not divide": ({"data": 8}, 12),
    "rows that fsdp does not divide": ({"fsdp": 4}, 6),
    "rows that both divide and their product does not": ({"data": 2, "fsdp": 4}, 4),
    "rows that a filled fsdp does not divide": ({"data": 1, "fsdp": -1}, 4),
}

EIGHT_DEVICES = """
import json
import sys
import jax
import jax.numpy as jnp
import numpy as np
from attention_jax.data import train_batches
from attention_jax.kernels import Causal, Padding, Refused
from attention_jax.layers import Attention, Seen, StackOptions
from attention_jax.training import Experiment
from attention_jax.training.parallel.sharding import MeshSizes, by_rows, make_mesh, one_step_at_a_time, replicated
from attention_jax.training.parallel.sharding import rows_of_process, split_batch
from tests.training import tiny
from tests.training.parallel.test_sharding import FITTING, REFUSED

def said(sizes, rows):
    try:
        return dict(make_mesh(MeshSizes(**sizes), batch_size=rows).shape)
    except Refused as refusal:
        return str(refusal)

def rows_of_devices():
    mesh = make_mesh(MeshSizes(data=2, fsdp=2, tensor=2), batch_size=8)
    placed = split_batch(mesh, {"rows": np.arange(8)})["rows"]
    assert placed.sharding == by_rows(mesh)
    held = [np.asarray(shard.data).tolist() for shard in placed.addressable_shards]
    return {"held": held, "axes": mesh.axis_names, "of_process": str(rows_of_process(mesh, 8))}

def losses(**changes):
    experiment = Experiment(**tiny.sections(model={"attention": "scaled_dot"}, accumulation=2, **changes))
    step, _ = experiment.compiled_step
    state, rate, found = experiment.create_state(0), experiment.put_rate(experiment.learning_rate), []
    for batch, _ in zip(train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0), range(4)):
        state, metrics = jax.block_until_ready(step(state, experiment.put(batch), rate))
        found.append(float(metrics["train_loss"]))
    return {"losses": found, "devices": experiment.mesh.size, "collective": "all-reduce" in step.as_text()}

def attention():
    # By how much a layer over two devices differs from the layer on one, and whether it gathers what it split.
    mesh = make_mesh(MeshSizes(data=2), batch_size=4)
    layer = Attention("scaled_dot", StackOptions(num_heads=2, width=8, engine="blockwise", positions="none"))
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12, 8)), jnp.float32)
    mask = Causal() & Padding(jnp.array([12, 9, 5, 1]))
    params = layer.init(jax.random.key(0), inputs, Seen())

    def gradient(params, inputs):
        return jax.grad(lambda inputs: (layer.apply(params, inputs, Seen(mask)).out ** 2).sum())(inputs)

    def at_hand(params, inputs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return gradient(params, inputs)

    placed = jax.device_put(params, replicated(mesh)), split_batch(mesh, {"inputs": inputs})["inputs"]
    compiled = jax.jit(at_hand).lower(*placed).compile()
    difference = np.abs(np.asarray(compiled(*placed)) - np.asarray(jax.jit(gradient)(params, inputs))).max()
    return {"difference": float(difference), "gathers": "all-gather" in compiled.as_text()}

print(json.dumps({
    "attention": attention(),
    "one": losses(mesh={"data": 1}),
    "two": losses(mesh={"data": 2}),
    "meshes": {name: said(*asked) for name, asked in {**FITTING, **REFUSED}.items()},
    "rows": rows_of_devices(),
    "waits": [one_step_at_a_time(make_mesh(MeshSizes(data=count), batch_size=8)) for count in (1, 2)],
}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    process = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_two_devices_give_the_losses_of_one(found):
    assert (found["one"]["devices"], found["two"]["devices"]) == (1, 2)
    assert (found["one"]["collective"], found["two"]["collective"]) == (False, True)
    assert found["two"]["losses"] == pytest.approx(found["one"]["losses"], rel=1e-5)
    assert found["attention"]["difference"] < 1e-6
    assert not found["attention"]["gathers"]
    assert found["waits"] == [False, True]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("all of the batch", (8, 1, 1, 1)),
        ("the most that divide it", (6, 1, 1, 1)),
        ("and no more than a batch of a prime has", (1, 1, 1, 1)),
        ("fewer than there are", (2, 1, 1, 1)),
        ("data beside fsdp", (4, 2, 1, 1)),
        ("rows are split over fsdp too", (3, 2, 1, 1)),
        ("data beside tensor", (4, 1, 2, 1)),
        ("fsdp filled", (2, 4, 1, 1)),
        ("tensor filled", (1, 1, 8, 1)),
        ("sequence filled", (2, 1, 1, 4)),
        ("filled by what is left of an odd number", (3, 1, 2, 1)),
        ("all four", (1, 2, 2, 2)),
    ],
)
def test_sizes_make_a_mesh_and_an_open_one_is_filled(found, name, shape):
    assert found["meshes"][name] == dict(zip(AXES, shape, strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two open", r"mesh\.data and mesh\.fsdp are -1, and one axis alone can be filled: give the others\."),
        ("three open", r"mesh\.data and mesh\.fsdp and mesh\.sequence are -1, and one axis alone.*"),
        ("zero", r"mesh\.tensor=0: there are 8 devices; give 1 to 8, or -1\."),
        ("less than -1", r"mesh\.sequence=-2: there are 8 devices; give 1 to 8, or -1\."),
        (
            "too many",
            r"mesh\.data=16 asks for 16 devices and there are 8: give sizes whose product is at most that\.",
        ),
        ("too many together", r"mesh\.data=3 x mesh\.fsdp=3 asks for 9 devices and there are 8: give sizes.*"),
        ("too many beside an open one", r"mesh\.fsdp=9 asks for 9 devices and there are 8: give sizes.*"),
        (
            "rows that data does not divide",
            r"mesh\.data=8 does not divide a batch of 12 rows: give a multiple of 8, or mesh\.data=-1 for the most "
            r"devices that divide it\.",
        ),
        ("rows that fsdp does not divide", r"mesh\.fsdp=4 does not divide a batch of 6 rows: give a multiple of 4.*"),
        (
            "rows that both divide and their product does not",
            r"mesh\.data=2 x mesh\.fsdp=4 does not divide a batch of 4 rows: give a multiple of 8.*",
        ),
        ("rows that a filled fsdp does not divide", r"mesh\.fsdp=8 does not divide a batch of 4 rows: give.*"),
    ],
)
def test_sizes_that_make_no_mesh_are_refused(found, name, message):
    assert re.fullmatch(message, str(found["meshes"][name])), found["meshes"][name]


def test_a_batch_is_split_over_data_and_fsdp_and_repeated_over_the_rest(found):
    assert found["rows"]["axes"] == list(AXES)
    assert found["rows"]["held"] == [part for part in ([0, 1], [2, 3], [4, 5], [6, 7]) for _ in range(2)]
    assert found["rows"]["of_process"] == str(slice(0, 8))


def test_one_device_is_a_mesh_of_one():
    mesh = make_mesh(MeshSizes(data=1), batch_size=5)
    assert (mesh.size, tuple(mesh.axis_names)) == (1, AXES)
    assert mesh.devices.flat[0] == jax.devices()[0]
    assert not one_step_at_a_time(mesh)
    with pytest.raises(Refused, match=r"^mesh\.data=\d+ asks for \d+ devices and there are \d+: give sizes"):
        make_mesh(MeshSizes(data=len(jax.devices()) + 1), batch_size=64)
