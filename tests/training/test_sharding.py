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
from attention_jax.data import train_batches
from attention_jax.training import Experiment
from attention_jax.training.sharding import MeshSizes, make_mesh, one_step_at_a_time
from tests.training import tiny

def losses(**changes):
    experiment = Experiment(**tiny.sections(model={"attention": "scaled_dot"}, accumulation=2, **changes))
    step, _ = experiment.compiled_step
    state, found = experiment.create_state(0), []
    for batch, _ in zip(train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0), range(4)):
        state, metrics = jax.block_until_ready(step(state, experiment.put(batch)))
        found.append(float(metrics["train_loss"]))
    return {"losses": found, "devices": experiment.mesh.size, "collective": "all-reduce" in step.as_text()}

print(json.dumps({
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
