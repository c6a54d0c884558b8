"""The training step of every model as a program for a GPU and for a TPU: lowered here, not run on either.

What the engines ask of a device (its platform, its generation, the version of cuDNN) is made up, as in their own tests.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from attention_jax import models, tasks
from attention_jax.kernels.engines import platform
from attention_jax.training.optimizer import build_optimizer
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh
from attention_jax.training.state import create_state
from attention_jax.training.step import make_train_step
from tests.models.test_catalogue import BATCH, SMALL, SPELT, STACKED, built, task_of

TARGETS = {"targets": jnp.zeros((2, 8), jnp.int32), "weights": jnp.ones((2, 8)), "label": jnp.zeros(2, jnp.int32)}
TARGETS |= {"start": jnp.zeros(2, jnp.int32), "end": jnp.zeros(2, jnp.int32), "pair": jnp.zeros((2, 2), jnp.int32)}
OF_SPELT = {"tokens": BATCH["tokens"], "lengths": jnp.full(2, 8), "tags": jnp.zeros((2, 8), jnp.int32)}
# Wide enough for the engines of accelerators, whose heads are of 64.
SIZES = {"width": 128, "num_heads": 2}


@pytest.fixture(params=["cuda", "tpu"])
def target(request, monkeypatch):
    monkeypatch.setattr(platform, "name", lambda: request.param)
    monkeypatch.setattr(platform, "compute_capability", lambda: (9, 0))
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    return request.param


def traced(name: str, dtype: str) -> Any:
    """The training step of a model, with dropout and its optimizer."""
    options = {"dtype": dtype, "dropout_rate": 0.1}
    model = built(name, **SIZES, **options)
    batch = {**models.arrays_of(model, BATCH), **TARGETS, **(OF_SPELT if name in SPELT else {})}
    inputs = models.arrays_of(model, batch)
    logits, _ = jax.eval_shape(functools.partial(model.init_with_output, jax.random.key(0)), **inputs)
    task = tasks.build(task_of(model, logits))
    optimizer_of = lambda rate: build_optimizer(steps=10, learning_rate=rate)  # noqa: E731
    state = jax.eval_shape(lambda: create_state(model, inputs, optimizer_of(1e-3)[0], seed=0))
    mesh = make_mesh(MeshSizes(data=1), batch_size=2)
    batch = {key: batch[key] for key in (*inputs, *task.reads)}
    return make_train_step(model, task, optimizer_of, mesh=mesh).trace(state, batch, np.float32(1e-3))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, dtype) for name in STACKED for dtype in ("float32", "bfloat16")), *((name, "float32") for name in SMALL)],
)
def test_the_step_of_every_model_is_a_program_for_accelerators(target, name, dtype):
    program = traced(name, dtype).lower(lowering_platforms=(target,)).as_text()
    assert "stablehlo.dot_general" in program
    assert ("bf16" in program) is (dtype == "bfloat16")
