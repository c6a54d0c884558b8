"""The first three steps of a tiny GPT, as numbers: whatever changes what training computes changes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.training.optimizer import build_optimizer
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh
from attention_jax.training.state import create_state
from attention_jax.training.step import make_train_step

GOLDEN: dict[str, list[float]] = {
    "train_loss": [2.5931921005249023, 2.42622709274292, 2.2879037857055664],
    "gradient_norm": [1.272181510925293, 1.0659313201904297, 1.0169771909713745],
}

MESSAGE = """the first three steps give {found}.
Legitimate reasons: an initialiser, a default of the model or the optimizer, the order in which keys are split, or the
formula of a layer, a loss or an update was changed on purpose. Then say so in the commit and put these numbers into
GOLDEN. If nothing of the kind was meant, something that training depends on has changed: find it."""


def test_the_first_three_steps_are_what_they_were():
    tokens = (np.arange(4 * 9, dtype=np.int32).reshape(4, 9) * 5) % 13
    batch = {"inputs": tokens[:, :-1], "targets": tokens[:, 1:], "weights": np.ones((4, 8), np.float32)}
    model = models.build("gpt", facts={"vocabulary_size": 13, "length": 8}, num_layers=1, num_heads=2, width=16)
    optimizer_of = lambda rate: build_optimizer(steps=10, learning_rate=rate)  # noqa: E731
    optimizer, _ = optimizer_of(0.01)
    state = jax.jit(lambda: create_state(model, {"inputs": jnp.asarray(batch["inputs"])}, optimizer, seed=0))()
    step = make_train_step(
        model, tasks.build("token_prediction"), optimizer_of, mesh=make_mesh(MeshSizes(data=1), batch_size=1)
    )
    found: dict[str, list[float]] = {name: [] for name in GOLDEN}
    for _ in range(3):
        state, metrics = step(state, batch, jnp.float32(0.01))
        for name, values in found.items():
            values.append(float(metrics[name]))
    for name, values in GOLDEN.items():
        assert found[name] == pytest.approx(values, rel=1e-5), MESSAGE.format(found=found)
