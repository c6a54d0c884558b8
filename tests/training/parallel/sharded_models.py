"""Run by test_sharded_models.py in an interpreter of its own with eight devices: prints, as JSON, losses by mesh.

The first word is a model's name, the second, as JSON, options of its stacks. It takes 5 steps of plain gradient descent
on one batch, on each mesh.
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import models, tasks
from attention_jax.cli.collectives import collectives
from attention_jax.training.optimizer import build_optimizer
from attention_jax.training.parallel.rules import parameter_specs, state_shardings
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh, split_batch
from attention_jax.training.state import create_state
from attention_jax.training.step import make_train_step
from tests.models.test_catalogue import SPELT, built, task_of

MESHES = {
    "one": MeshSizes(data=1),
    "data": MeshSizes(data=8),
    "fsdp": MeshSizes(data=1, fsdp=8),
    "tensor": MeshSizes(data=2, tensor=4),
    "product": MeshSizes(data=2, fsdp=2, tensor=2),
}
ROWS = 8
STEPS = 5
RNG = np.random.default_rng(0)
# Smaller than the vocabulary, and places of a source of 8 and its end.
TOKENS = RNG.integers(9, size=(ROWS, 8)).astype(np.int32)
BATCH = {
    "inputs": TOKENS,
    "tokens": TOKENS,
    "source": TOKENS[:, ::-1].copy(),
    "image": RNG.normal(size=(ROWS, 8, 8, 1)).astype(np.float32),
    "targets": np.roll(TOKENS, -1, axis=1),
    "weights": np.ones((ROWS, 8), np.float32),
    "label": TOKENS[:, 0] % 3,
    "characters": RNG.integers(7, size=(ROWS, 8, 4)).astype(np.int32),
    **{"first": TOKENS, "second": TOKENS[:, ::-1].copy(), "passage": TOKENS, "question": TOKENS[:, :3].copy()},
    **{"center": TOKENS[:, 0], "contexts": TOKENS, "negatives": TOKENS, "pair": TOKENS[:, :2]},
    "document": np.stack([TOKENS[:, :4], TOKENS[:, 4:]], axis=1),
    **{"start": TOKENS[:, 0] % 4, "end": 4 + TOKENS[:, 0] % 4},
    **{"story": RNG.integers(11, size=(ROWS, 8, 3)).astype(np.int32), "source_extended": TOKENS[:, ::-1] + 4},
}
OF_SPELT = {"lengths": np.arange(1, 1 + ROWS, dtype=np.int32), "tags": TOKENS % 3}


def trained(name: str, sizes: MeshSizes, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the loss of each step, and the kinds of collectives in the program."""
    model = built(name, num_heads=4, width=32, **options)
    arrays = {**BATCH, **(OF_SPELT if name in SPELT else {})}
    inputs = models.arrays_of(model, arrays)
    logits = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **inputs))[0]
    task = tasks.build(task_of(model, logits))
    batch = {key: arrays[key] for key in (*inputs, *task.reads)}
    mesh = make_mesh(sizes, batch_size=ROWS)
    optimizer_of = lambda rate: build_optimizer(steps=STEPS, name="sgd", learning_rate=rate)  # noqa: E731
    make = lambda: create_state(model, inputs, optimizer_of(0.1)[0], seed=0)  # noqa: E731
    shapes = jax.eval_shape(make)
    specs = parameter_specs(shapes.params, model_rules=model.parameter_rules, rules=(), mesh=mesh)
    shardings = state_shardings(shapes, specs, mesh)
    step = make_train_step(model, task, optimizer_of, mesh=mesh, shardings=shardings)
    state, losses = jax.jit(make, out_shardings=shardings)(), []
    placed, rate = split_batch(mesh, batch), jnp.float32(0.1)
    compiled = step.lower(state, placed, rate).compile()
    for _ in range(STEPS):
        state, metrics = jax.block_until_ready(compiled(state, placed, rate))
        losses.append(float(metrics["train_loss"]))
    return {"losses": losses, "collectives": sorted({each.kind for each in collectives(compiled.as_text())})}


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    given = json.loads(sys.argv[2])
    print(json.dumps({mesh: trained(sys.argv[1], sizes, given) for mesh, sizes in MESHES.items()}))
