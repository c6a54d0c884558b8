"""Optimizers by name, optax's own or put together from its parts.

What decays is the same for all: kernels and embeddings, and not biases, norms, short convolutions and a variant's own
arrays. The decay is decoupled from the gradient and scaled by the learning rate (Loshchilov & Hutter 2017).
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
import optax.contrib
from jax.typing import ArrayLike

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.layers.paths import block_of, path_of
from attention_jax.training.by_path import check_freeze, check_rates, freezing, scale_by_path
from attention_jax.training.schedule import schedules

optimizers: Catalogue = Catalogue("optimizer", "attention_jax.training")

LEARNING_RATE = 1e-3
# From a learning rate to the transformation and the rate by step, within a compiled step as outside.
OptimizerOf = Callable[[ArrayLike], tuple[optax.GradientTransformation, optax.Schedule]]


@optimizers.register
def adamw(
    schedule: optax.Schedule, *, weight_decay: float = 0.01, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Loshchilov & Hutter 2017, algorithm 2."""
    return optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decays)


@optimizers.register
def lion(
    schedule: optax.Schedule, *, weight_decay: float = 0.01, b1: float = 0.9, b2: float = 0.99
) -> optax.GradientTransformation:
    """Chen et al. 2023, algorithm 2."""
    return optax.lion(schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=decays)


@optimizers.register
def sgd(
    schedule: optax.Schedule, *, weight_decay: float = 0.0, momentum: float = 0.0, nesterov: bool = False
) -> optax.GradientTransformation:
    """Loshchilov & Hutter 2017, algorithm 1, momentum as in Sutskever et al. 2013; Nesterov's form only with momentum.

    Raises:
      Refused: Nesterov's form without momentum.
    """
    if nesterov and not momentum:
        raise Refused("optimizer.nesterov=True changes nothing without momentum: set optimizer.momentum, such as 0.9.")
    return _stepping(optax.trace(momentum, nesterov) if momentum else optax.identity(), weight_decay, schedule)


@optimizers.register
def adafactor(
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.0,
    decay_rate: float = 0.8,
    clipping_threshold: float = 1.0,
    min_dim_size_to_factor: int = 128,
    multiply_by_parameter_scale: bool = True,
) -> optax.GradientTransformation:
    """Shazeer & Stern 2018, algorithms 4 and 5, without momentum.

    Blocks that are scanned over are one array to it: clipped together, and of one relative rate.

    Args:
      schedule: the learning rate; relative to the root mean square of each parameter, where that multiplies it.
      weight_decay: scaled by the learning rate, as in the other optimizers and not in optax's own adafactor.
      decay_rate: c of 1 - t^-c, how much of the second moment stays at step t.
      clipping_threshold: the largest root mean square of an update.
      min_dim_size_to_factor: the second moment is kept in rows and columns where the two largest axes have this size.
      multiply_by_parameter_scale: whether the learning rate is relative.
    """
    relative = [optax.scale_by_param_block_rms()] if multiply_by_parameter_scale else []
    scaled = optax.chain(
        optax.scale_by_factored_rms(decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor),
        optax.clip_by_block_rms(clipping_threshold),
        *relative,
    )
    return _stepping(scaled, weight_decay, schedule)


@optimizers.register
def muon(
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.01,
    momentum: float = 0.95,
    ns_steps: int = 5,
    rms: float = 0.2,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Jordan et al. 2024 on the kernels of the blocks, AdamW on all else: embeddings, heads, norms, biases, variants.

    The momentum of a kernel, as the matrix from its input to its output axes, is made orthogonal by Newton-Schulz
    iterations and scaled by rms sqrt(max(inputs, outputs)): Liu et al. 2025, equation 4. So its root mean square is
    that of AdamW's updates, and the learning rate and the weight decay of AdamW suit it.

    Args:
      schedule: the learning rate of both.
      weight_decay: of both.
      momentum: of the matrices, in Nesterov's form.
      ns_steps: Newton-Schulz iterations.
      rms: the root mean square of a matrix's update, over the learning rate.
      b1: AdamW's.
      b2: AdamW's.
      eps: AdamW's.

    Raises:
      Refused: no parameter is a kernel of a block; by `init`.
    """

    def labels(params: Any) -> Any:
        named = jax.tree_util.tree_map_with_path(lambda keys, _: "muon" if _is_matrix(keys) else "adamw", params)
        if set(jax.tree.leaves(named)) == {"adamw"}:
            raise Refused(
                "optimizer muon: no trained parameter is a kernel of a block (block_<i>/.../kernel), and it is for "
                "these: use optimizer adamw."
            )
        return named

    def scaled(updates: Any, _: Any) -> Any:
        def scale(update: jax.Array, axes: optax.contrib.MuonDimensionNumbers) -> jax.Array:
            longer = max(math.prod(update.shape[axis] for axis in part) for part in axes)
            return update * (rms * math.sqrt(longer))

        return jax.tree.map(scale, updates, matrix_axes(updates))

    orthogonal = optax.contrib.scale_by_muon(
        ns_steps=ns_steps, beta=momentum, nesterov=True, weight_dimension_numbers=matrix_axes
    )
    parts = {
        "muon": optax.chain(orthogonal, optax.stateless(scaled)),
        "adamw": optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
    }
    return _stepping(optax.partition(parts, labels), weight_decay, schedule)


def matrix_axes(kernels: Any) -> Any:
    """Returns, for each kernel of a block, which of its axes are a matrix's inputs and outputs, counted from the end.

    Projections to heads [D, N, H] have one input axis; every other kernel has one output axis: [D, F], from heads
    [N, H, D], convolutions. A first axis over blocks is neither, so each block's matrix stands alone.
    """

    def axes(keys: Any, kernel: Any) -> optax.contrib.MuonDimensionNumbers:
        path = path_of(keys)
        block, (*_, owner, layer, _) = block_of(path), ("", *path.split("/"))
        count = kernel.ndim - (block is not None and block.layer is None)
        to_heads = count == 3 and "attention" in owner and layer != "out"
        first_output = -2 if to_heads else -1
        return optax.contrib.MuonDimensionNumbers(tuple(range(-count, first_output)), tuple(range(first_output, 0)))

    return jax.tree_util.tree_map_with_path(axes, kernels)


def decays(params: Any) -> Any:
    """Returns, for each parameter, whether weight decay applies to it: kernels and embeddings only."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: keys[-1].key in ("kernel", "embedding"), params)


def build_optimizer(
    *,
    steps: int,
    name: str = "adamw",
    learning_rate: float | jax.Array = LEARNING_RATE,
    clip_norm: float | None = 1.0,
    clip_value: float | None = None,
    rates: tuple[tuple[str, float], ...] = (),
    layer_decay: float = 1.0,
    freeze: tuple[str, ...] = (),
    schedule: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Makes the optimizer of a run.

    Patterns are regular expressions that match a parameter's whole path, such as "block_0/.*".

    Args:
      steps: how many steps the run has.
      name: adafactor, adamw, lion, muon or sgd.
      learning_rate: the largest that the schedule reaches; an array is what a compiled step is handed.
      clip_norm: gradients of a larger global norm are scaled down to it; None does not clip.
      clip_value: entries of a gradient outside of [-clip_value, clip_value] are set to its ends, before the norm is
        taken; None does not clip.
      rates: (pattern, multiplier), what the learning rate of the parameters that match is multiplied by.
      layer_decay: what the learning rate is multiplied by from each block to the one below: `by_path.multipliers`.
      freeze: patterns of parameters that stay as they are: no update, no decay, no state, no part in clip_norm.
      schedule: the section `config.optimizer.schedule`: its name (default warmup_cosine) and options.
      **options: the optimizer's own.

    Returns:
      The gradient transformation, and the learning rate as a function of the step. The transformation's `init` raises
      Refused where a pattern matches no parameter, or two disagree. In its state, where a part of it is not for a
      parameter there is an `optax.MaskedNode` in the parameter's place: `optax.tree_utils.tree_map_params` with trees
      beside the state takes `is_leaf=lambda x: isinstance(x, optax.MaskedNode)`.

    Raises:
      Refused: a name or an option is unknown, or a value cannot be used.
    """
    if not isinstance(learning_rate, jax.Array):
        check_learning_rate(learning_rate)
    clips = {"clip_value": (clip_value, optax.clip), "clip_norm": (clip_norm, optax.clip_by_global_norm)}
    for key, (limit, _) in clips.items():
        if limit is not None and limit <= 0:
            raise Refused(f"optimizer.{key}={limit}: give a number above 0, or None for no clipping.")
    check_rates(rates, layer_decay)
    check_freeze(freeze)
    _check_ranges(options)
    section = {"name": "warmup_cosine", **(schedule or {})}
    rate = schedules.build(section.pop("name"), peak=learning_rate, steps=steps, **section)
    optimizer = optax.chain(
        *(clip(limit) for limit, clip in clips.values() if limit is not None),
        optimizers.build(name, schedule=rate, **options),
        *([scale_by_path(rates, layer_decay)] if rates or layer_decay < 1 else []),
    )
    return freezing(optimizer, freeze) if freeze else optimizer, rate


def check_learning_rate(learning_rate: float) -> None:
    """Refuses a learning rate that is not a number of at least 0."""
    if not 0 <= learning_rate < math.inf:
        raise Refused(f"optimizer.learning_rate={learning_rate}: give a number of at least 0.")


def own_options(builder: Any) -> dict[str, inspect.Parameter]:
    """Returns the parameters of an optimizer or a schedule that a config sets, by name."""
    given = ("schedule", "peak", "steps")
    return {key: value for key, value in inspect.signature(builder).parameters.items() if key not in given}


def _stepping(
    direction: optax.GradientTransformation, weight_decay: float, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Steps against a direction and the decay, by the learning rate."""
    return optax.chain(
        direction, optax.add_decayed_weights(weight_decay, decays), optax.scale_by_learning_rate(schedule)
    )


def _is_matrix(keys: Any) -> bool:
    return block_of(path_of(keys)) is not None and keys[-1].key == "kernel"


def _check_ranges(options: Mapping[str, Any]) -> None:
    """Checks the options that mean the same to every optimizer that has them."""
    for key in ("b1", "b2", "momentum"):
        if key in options and not 0 <= options[key] < 1:
            raise Refused(f"optimizer.{key}={options[key]}: give the share that a moment keeps, in [0, 1).")
    if "weight_decay" in options and options["weight_decay"] < 0:
        raise Refused(f"optimizer.weight_decay={options['weight_decay']}: give a number of at least 0.")
