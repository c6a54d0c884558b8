"""The first three steps of each language model's system, tiny, as numbers: what changes training changes them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.training.optimizer import build_optimizer
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh
from attention_jax.training.state import create_state
from attention_jax.training.step import make_train_step

TINY = {"num_layers": 1, "num_heads": 2, "width": 16}
TOKENS = (np.arange(4 * 9, dtype=np.int32).reshape(4, 9) * 5) % 13
TARGETS = {"inputs": TOKENS[:, :-1], "targets": TOKENS[:, 1:], "weights": np.ones((4, 8), np.float32)}


class System(NamedTuple):
    """A model with its facts and options, its task, and a batch of what it reads."""

    model: str
    options: dict[str, Any]
    facts: dict[str, Any]
    task: str
    batch: dict[str, np.ndarray]


SYSTEMS = {
    "gpt": System("gpt", TINY, {"vocabulary_size": 13, "length": 8}, "token_prediction", TARGETS),
    # Sources of unequal lengths, and labels smoothed as in the paper.
    "transformer": System(
        "transformer",
        {"encoder": {**TINY, "dropout_rate": 0.0}, "decoder": {**TINY, "dropout_rate": 0.0}},
        {"vocabulary_size": 13, "source_length": 9, "target_length": 8, "begin": 1, "end": 2},
        "translation",
        {**TARGETS, "source": TOKENS[::-1], "source_lengths": np.array([9, 7, 4, 1], np.int32)},
    ),
}
GOLDEN: dict[str, dict[str, list[float]]] = {
    "gpt": {
        "train_loss": [2.5931921005249023, 2.42622709274292, 2.2879037857055664],
        "gradient_norm": [1.272181510925293, 1.0659313201904297, 1.0169771909713745],
    },
    "transformer": {
        "train_loss": [2.5943691730499268, 2.53645658493042, 2.503384590148926],
        "gradient_norm": [0.4051283895969391, 0.26020753383636475, 0.289364218711853],
    },
}

MESSAGE = """the first three steps of {name} give {found}.
Legitimate reasons: an initialiser, a default of the model or the optimizer, the order in which keys are split, or the
formula of a layer, a loss or an update was changed on purpose. Then say so in the commit and put these numbers into
GOLDEN. If nothing of the kind was meant, something that training depends on has changed: find it."""


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_first_three_steps_are_what_they_were(name):
    system = SYSTEMS[name]
    model = models.build(system.model, facts=system.facts, **system.options)
    optimizer_of = lambda rate: build_optimizer(steps=10, learning_rate=rate)  # noqa: E731
    optimizer, _ = optimizer_of(0.01)
    read = {key: jnp.asarray(system.batch[key]) for key in model.reads}
    state = jax.jit(lambda: create_state(model, read, optimizer, seed=0))()
    step = make_train_step(
        model, tasks.build(system.task), optimizer_of, mesh=make_mesh(MeshSizes(data=1), batch_size=1)
    )
    found: dict[str, list[float]] = {measure: [] for measure in GOLDEN[name]}
    for _ in range(3):
        state, metrics = step(state, system.batch, jnp.float32(0.01))
        for measure, values in found.items():
            values.append(float(metrics[measure]))
    for measure, values in GOLDEN[name].items():
        assert found[measure] == pytest.approx(values, rel=1e-5), MESSAGE.format(name=name, found=found)
