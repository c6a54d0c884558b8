"""One update of the parameters, and one batch of an evaluation, as pure functions to be compiled."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from attention_jax.tasks import Ratio, Task
from attention_jax.training.state import TrainState

Batch = dict[str, Array]
Metrics = dict[str, Array]


def make_train_step(
    model: nn.Module,
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    mesh: Mesh,
    accumulation: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Returns (state, batch) -> (next state, metrics), compiled, its first argument donated.

    The loss is the sum over the batch divided by the summed weight of the whole batch, however many parts it is
    accumulated in, so that the gradient is that of the big batch.

    Args:
      model: a Flax module.
      task: what is learned.
      optimizer: updates the parameters.
      schedule: the learning rate by step, for the metrics.
      mesh: the devices; layers that split their work by hand find it while they are traced.
      accumulation: in how many parts a batch is run; they divide it.
    """

    def loss(params: Any, state: TrainState, batch: Batch, dropout: PRNGKeyArray) -> tuple[Array, dict[str, Ratio]]:
        measures = task.run(model, {**state.variables, "params": params}, batch, dropout=dropout)
        return measures["loss"].total, measures

    def part(state: TrainState, batch: Batch, dropout: PRNGKeyArray) -> tuple[Any, dict[str, Ratio]]:
        return jax.grad(loss, has_aux=True)(state.params, state, batch, dropout)

    def whole(state: TrainState, batch: Batch) -> tuple[Any, dict[str, Ratio]]:
        dropout = jax.random.fold_in(state.key, state.step)
        if accumulation == 1:
            return part(state, batch, dropout)
        # Every `accumulation`-th row goes to one part, so that rows stay on the device they are on.
        parts = jax.tree.map(lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1), batch)
        keys = jax.random.split(dropout, accumulation)
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(part, state, jax.tree.map(lambda x: x[0], parts), keys[0]),
        )

        def add(total: Any, inputs: tuple[Batch, PRNGKeyArray]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, part(state, *inputs)), None

        return jax.lax.scan(add, zeros, (parts, keys))[0]

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            gradients, measures = whole(state, batch)
        weight = jnp.maximum(measures["loss"].weight, jnp.finfo(jnp.float32).tiny)
        gradients = jax.tree.map(lambda gradient: gradient / weight, gradients)
        norm = optax.tree.norm(gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        metrics = {f"train_{name}": ratio.mean for name, ratio in measures.items()}
        metrics |= {"gradient_norm": norm, "learning_rate": jnp.asarray(schedule(state.step), jnp.float32)}
        step = state.step + 1
        finite = jnp.isfinite(metrics["train_loss"]) & jnp.isfinite(norm)
        following = replace(
            state,
            step=step,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            bad_step=jnp.where((state.bad_step < 0) & ~finite, step, state.bad_step),
        )
        return following, metrics

    return jax.jit(train_step, donate_argnums=0)


def make_evaluation_step(model: nn.Module, task: Task, *, mesh: Mesh) -> Callable[[Any, Batch], dict[str, Ratio]]:
    """Returns (variables, batch) -> measures, compiled."""

    def evaluation_step(variables: Any, batch: Batch) -> dict[str, Ratio]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return task.run(model, variables, batch)

    return jax.jit(evaluation_step)
