"""Two devices train as one does, and the compiled step holds the collective that makes it so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from attention_jax.kernels import Refused
from attention_jax.training.sharding import MeshSizes, make_mesh

TWO_DEVICES = """
import json
import jax
import jax.numpy as jnp
import numpy as np
from attention_jax.data import train_batches
from attention_jax.kernels import Causal, Padding
from attention_jax.layers.attention import Attention
from attention_jax.training import Experiment
from attention_jax.training.sharding import MeshSizes, make_mesh, one_step_at_a_time, replicated, split_batch
from tests.training import tiny

def losses(**changes):
    experiment = Experiment(**tiny.sections(model={"attention": "scaled_dot"}, accumulation=2, **changes))
    step, _ = experiment.compiled_step
    state, found = experiment.create_state(0), []
    for batch, _ in zip(train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0), range(4)):
        state, metrics = jax.block_until_ready(step(state, experiment.put(batch)))
        found.append(float(metrics["train_loss"]))
    return {"losses": found, "devices": experiment.mesh.size, "collective": "all-reduce" in step.as_text()}

def attention():
    # By how much a layer over two devices differs from the layer on one, and whether it gathers what it split.
    mesh = make_mesh(MeshSizes(), batch_size=4)
    layer = Attention("scaled_dot", num_heads=2, engine="blockwise")
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12, 8)), jnp.float32)
    mask = Causal() & Padding(jnp.array([12, 9, 5, 1]))
    params = layer.init(jax.random.key(0), inputs)

    def gradient(params, inputs):
        return jax.grad(lambda inputs: (layer.apply(params, inputs, mask=mask) ** 2).sum())(inputs)

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
    "two": losses(),
    "taken": [make_mesh(MeshSizes(), batch_size=rows).size for rows in (8, 5)],
    "waits": [one_step_at_a_time(make_mesh(MeshSizes(data=count), batch_size=8)) for count in (1, 2)],
}))
"""


def test_two_devices_give_the_losses_of_one():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    process = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    assert (found["one"]["devices"], found["two"]["devices"]) == (1, 2)
    assert (found["one"]["collective"], found["two"]["collective"]) == (False, True)
    assert found["two"]["losses"] == pytest.approx(found["one"]["losses"], rel=1e-5)
    assert found["attention"]["difference"] < 1e-6
    assert not found["attention"]["gathers"]
    assert found["taken"] == [2, 1]
    assert found["waits"] == [False, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (len(jax.devices()) + 1, r"^mesh\.data=\d+: there are \d+ devices; give 1 to \d+, or -1\."),
        (0, r"^mesh\.data=0: there are"),
        (-2, r"^mesh\.data=-2: there are"),
    ],
)
def test_a_number_of_devices_that_there_is_not_is_refused(data, message):
    with pytest.raises(Refused, match=message):
        make_mesh(MeshSizes(data=data), batch_size=64)
