"""One update of the parameters, and one batch of an evaluation, as pure functions to be compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from attention_jax.base.errors import Refused
from attention_jax.base.options import AtLeast
from attention_jax.kernels.parallel import Method
from attention_jax.layers.spread import over
from attention_jax.tasks import Ratio, Task
from attention_jax.training.by_path import held
from attention_jax.training.compiling import compiler_options
from attention_jax.training.optimizer import OptimizerOf
from attention_jax.training.parallel.sharding import replicated
from attention_jax.training.state import TrainState, in_float32

Batch = dict[str, Array]
Metrics = dict[str, Array]
# What adds up over the parts of a batch: gradients and measures.
Sums = tuple[Any, dict[str, Ratio]]
# What the key of a state is folded with for what is drawn in evaluations: no step has this number.
_EVALUATION = 2**32 - 1
# Steps whose gradient norms make up the typical one, and how many must have been seen before one can be a spike.
_NORM_WINDOW = 50


@dataclass(frozen=True)
class Instability:
    """The section `config.instability`: what happens at a step whose loss or gradient is not finite, or spikes.

    Attributes:
      action: "stop" ends the run; "skip" makes no update, counts the step and goes on.
      spike: a gradient whose norm is more than this many times the running mean of 50 steps is a spike; None: none is.
      most_skipped: the run ends when more steps than this were skipped.
    """

    action: Literal["stop", "skip"] = "stop"
    spike: float | None = None
    most_skipped: Annotated[int, AtLeast(0)] = 100


def make_train_step(
    model: nn.Module,
    task: Task,
    optimizer_of: OptimizerOf,
    *,
    mesh: Mesh,
    shardings: TrainState | None = None,
    attention_parallel: Method = "ring",
    accumulation: int = 1,
    ema_decay: float | None = None,
    instability: Instability = Instability(),
    layer_norms: bool = False,
    freeze: Sequence[str] = (),
) -> Callable[[TrainState, Batch, Float[Array, ""]], tuple[TrainState, Metrics]]:
    """Returns (state, batch, learning rate) -> (next state, metrics), compiled, its first argument donated.

    The loss is the sum over the batch divided by the summed weight of the whole batch, however many parts it is
    accumulated in, so that the gradient is that of the big batch. Gradients are summed and measured in at least
    float32, and are of the parameters' dtype when the optimizer gets them. Mutable collections go from one part to the
    next; a step that is skipped leaves them as they were.

    Args:
      model: a Flax module.
      task: what is learned.
      optimizer_of: what updates the parameters, by the learning rate, so that one program serves every rate.
      mesh: the devices.
      shardings: where each array of the state lies on them; None is whole on each.
      attention_parallel: how keys and queries meet where tokens are spread.
      accumulation: in how many parts a batch is run; they divide it.
      ema_decay: of the average of the parameters, which starts as min(ema_decay, (1 + step) / (10 + step)); None keeps
        no average.
      instability: what happens at a step that went wrong.
      layer_norms: whether the metrics have the norms of each layer's gradient and update.
      freeze: patterns of the parameters that the optimizer leaves as they are, whose gradients are not computed.
    """
    whole = replicated(mesh)

    def loss(params: Any, state: TrainState, batch: Batch, dropout: PRNGKeyArray) -> tuple[Array, Any]:
        variables = {"params": held(params, freeze), "buffers": state.buffers, **state.mutable}
        measures, mutable = task.train(model, variables, batch, dropout=dropout)
        return measures["loss"].total, (measures, mutable)

    def part(state: TrainState, batch: Batch, dropout: PRNGKeyArray) -> tuple[Sums, Any]:
        gradients, (measures, mutable) = jax.grad(loss, has_aux=True)(state.params, state, batch, dropout)
        gradients = jax.tree.map(in_float32, gradients)
        gradients = jax.lax.with_sharding_constraint(gradients, shardings.params if shardings else whole)
        return (gradients, measures), mutable

    def train_step(state: TrainState, batch: Batch, learning_rate: Float[Array, ""]) -> tuple[TrainState, Metrics]:
        optimizer, schedule = optimizer_of(learning_rate)
        with over(mesh, attention_parallel=attention_parallel):
            (gradients, measures), mutable = _accumulated(part, state, batch, accumulation)
        weight = jnp.maximum(measures["loss"].weight, jnp.finfo(jnp.float32).tiny)
        gradients = jax.tree.map(lambda gradient: gradient / weight.astype(gradient.dtype), gradients)
        norm = optax.tree.norm(gradients)
        of_params = jax.tree.map(lambda gradient, param: gradient.astype(param.dtype), gradients, state.params)
        updates, opt_state = optimizer.update(of_params, state.opt_state, state.params)
        metrics = {f"train_{name}": ratio.mean for name, ratio in measures.items()}
        metrics |= {"gradient_norm": norm, "learning_rate": jnp.asarray(schedule(state.step), jnp.float32)}
        if layer_norms:
            metrics |= _norms_by_layer("gradient_norm", gradients) | _norms_by_layer("update_norm", updates)
        params = optax.apply_updates(state.params, updates)
        average = _averaged(state, params, ema_decay)
        following = replace(state, params=params, mutable=mutable, opt_state=opt_state, average=average)
        bad = ~(jnp.isfinite(metrics["train_loss"]) & jnp.isfinite(norm)) | _is_spike(state, norm, instability.spike)
        return _judged(state, following, bad, norm, instability), metrics

    return jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(shardings or whole, whole),
        compiler_options=compiler_options("step"),
    )


def _accumulated(
    part: Callable[[TrainState, Batch, PRNGKeyArray], tuple[Sums, Any]],
    state: TrainState,
    batch: Batch,
    accumulation: int,
) -> tuple[Sums, Any]:
    """The sums over a batch of what `part` returns of each of its parts, and the mutable collections after the last."""
    dropout = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    if accumulation == 1:
        return part(state, batch, dropout)
    # Every `accumulation`-th row goes to one part, so that rows stay on the device they are on.
    parts = jax.tree.map(lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1), batch)
    keys = jax.random.split(dropout, accumulation)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(part, state, jax.tree.map(lambda x: x[0], parts), keys[0])[0],
    )

    def add(carry: tuple[Sums, Any], inputs: tuple[Batch, PRNGKeyArray]) -> tuple[tuple[Sums, Any], None]:
        total, mutable = carry
        found, mutable = part(replace(state, mutable=mutable), *inputs)
        return (jax.tree.map(jnp.add, total, found), mutable), None

    return jax.lax.scan(add, (zeros, state.mutable), (parts, keys))[0]


def _averaged(state: TrainState, params: Any, decay: float | None) -> Any:
    if decay is None:
        return state.average
    keep = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return jax.tree.map(lambda old, new: (keep * old + (1 - keep) * new).astype(old.dtype), state.average, params)


def _is_spike(state: TrainState, norm: Float[Array, ""], spike: float | None) -> Bool[Array, ""]:
    if spike is None:
        return jnp.asarray(False)
    return (state.step - state.skipped >= _NORM_WINDOW) & (norm > spike * state.typical_norm)


def _judged(
    before: TrainState, after: TrainState, bad: Bool[Array, ""], norm: Float[Array, ""], instability: Instability
) -> TrainState:
    """The state after a step: that before it but for the counts, when the step is skipped."""
    step = before.step + 1
    skips = instability.action == "skip"
    if skips:
        after = jax.tree.map(lambda old, new: jnp.where(bad, old, new), before, after)
    share = 1 / jnp.minimum(step - before.skipped, _NORM_WINDOW).astype(jnp.float32)
    return replace(
        after,
        step=step,
        bad_step=jnp.where((before.bad_step < 0) & bad, step, before.bad_step),
        skipped=before.skipped + (bad & skips),
        typical_norm=jnp.where(bad, before.typical_norm, before.typical_norm * (1 - share) + norm * share),
    )


def _norms_by_layer(name: str, tree: dict[str, Any]) -> Metrics:
    """The norm of each of a model's layers, and of each of the blocks that are stacked."""
    norms: Metrics = {}
    for layer, arrays in tree.items():
        if layer == "blocks":
            leaves = [in_float32(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(arrays)]
            stacked = jnp.sqrt(sum(jnp.sum(leaf**2, axis=1) for leaf in leaves))
            norms |= {f"{name}/block_{number}": stacked[number] for number in range(len(stacked))}
        else:
            norms[f"{name}/{layer}"] = optax.tree.norm(jax.tree.map(in_float32, arrays))
    return norms


def make_evaluation_step(
    model: nn.Module, task: Task, *, mesh: Mesh, attention_parallel: Method = "ring", sliced: bool = False
) -> Callable[[Any, Batch], dict[str, Ratio]]:
    """Returns (variables, batch) -> measures, where `sliced` slices, compiled; the same on each device of the mesh."""
    run = task.run_slices if sliced else task.run

    def evaluation_step(variables: Any, batch: Batch) -> dict[str, Ratio]:
        with over(mesh, attention_parallel=attention_parallel):
            return run(model, variables, batch)

    return jax.jit(evaluation_step, out_shardings=replicated(mesh), compiler_options=compiler_options("evaluation"))


def make_collecting_step(
    model: nn.Module, task: Task, *, mesh: Mesh, attention_parallel: Method = "ring"
) -> Callable[[Any, UInt32[Array, "2"], Int[Array, ""], Batch], tuple[dict[str, Array], Bool[Array, " B"]]]:
    """Returns (variables, a state's key, number of the batch, batch) -> (what the task collects, valid), compiled.

    All rows are on each device of the mesh, so that every process has them.

    Raises:
      Refused: by the function, as it is traced: the task collects what is not of rows.
    """
    collect = task.collect
    assert collect is not None

    def collecting_step(
        variables: Any, key: UInt32[Array, "2"], number: Int[Array, ""], batch: Batch
    ) -> tuple[dict[str, Array], Bool[Array, " B"]]:
        of_evaluations = jax.random.fold_in(jax.random.wrap_key_data(key), jnp.uint32(_EVALUATION))
        with over(mesh, attention_parallel=attention_parallel):
            collected = collect(model, variables, batch, jax.random.fold_in(of_evaluations, number))
        rows = len(batch["valid"])
        for name, array in collected.items():
            if array.shape[:1] != (rows,):
                raise Refused(
                    f"task {task.name} collects {name} {list(array.shape)} of a batch of {rows} rows: collect arrays "
                    "whose first axis is the rows."
                )
        return collected, batch["valid"]

    return jax.jit(collecting_step, out_shardings=replicated(mesh), compiler_options=compiler_options("evaluation"))
