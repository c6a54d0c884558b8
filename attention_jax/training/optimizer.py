"""Optimizers and learning-rate schedules by name, all of them optax's."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import optax

from attention_jax.kernels.catalogue import Catalogue
from attention_jax.kernels.errors import Refused

schedules: Catalogue = Catalogue("learning-rate schedule", "attention_jax.training")
optimizers: Catalogue = Catalogue("optimizer", "attention_jax.training")


@schedules.register
def constant(*, peak: float, steps: int, warmup_steps: int = 0) -> optax.Schedule:
    """Linear warm-up to `peak`, then constant."""
    _check_warmup(warmup_steps, steps)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup_steps), optax.constant_schedule(peak)], [warmup_steps]
    )


@schedules.register
def warmup_cosine(*, peak: float, steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> optax.Schedule:
    """Linear warm-up to `peak`, then a half cosine to `final_fraction` of it at the last step."""
    _check_warmup(warmup_steps, steps)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, steps, peak * final_fraction)


@schedules.register
def warmup_linear(*, peak: float, steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> optax.Schedule:
    """Linear warm-up to `peak`, then linear to `final_fraction` of it at the last step."""
    _check_warmup(warmup_steps, steps)
    up = optax.linear_schedule(0.0, peak, warmup_steps)
    down = optax.linear_schedule(peak, peak * final_fraction, steps - warmup_steps)
    return optax.join_schedules([up, down], [warmup_steps])


@schedules.register
def rsqrt(*, peak: float, steps: int, warmup_steps: int = 1) -> optax.Schedule:
    """Linear warm-up to `peak`, then peak sqrt(warmup_steps / step): Vaswani et al. 2017, equation 3."""
    if warmup_steps < 1:
        raise Refused(f"optimizer.schedule.warmup_steps={warmup_steps}: rsqrt falls from its warm-up; give at least 1.")

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        step = jax.numpy.maximum(step, 1)
        return peak * jax.numpy.minimum(step / warmup_steps, jax.numpy.sqrt(warmup_steps / step))

    return schedule


def _check_warmup(warmup_steps: int, steps: int) -> None:
    if not 0 <= warmup_steps < steps:
        raise Refused(
            f"optimizer.schedule.warmup_steps={warmup_steps} is not in 0 to {steps - 1}: the run has {steps} steps."
        )


@optimizers.register
def adamw(
    schedule: optax.Schedule, *, weight_decay: float = 0.01, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Loshchilov & Hutter 2017; kernels and embeddings decay, biases, norms and a variant's own arrays do not."""
    return optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decays)


@optimizers.register
def lion(
    schedule: optax.Schedule, *, weight_decay: float = 0.01, b1: float = 0.9, b2: float = 0.99
) -> optax.GradientTransformation:
    """Chen et al. 2023; what decays is as for adamw."""
    return optax.lion(schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=decays)


@optimizers.register
def sgd(schedule: optax.Schedule, *, momentum: float = 0.0, nesterov: bool = False) -> optax.GradientTransformation:
    """Stochastic gradient descent; Nesterov's form only with momentum."""
    if nesterov and not momentum:
        raise Refused("optimizer.nesterov=True changes nothing without momentum: set optimizer.momentum, such as 0.9.")
    return optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov)


def decays(params: Any) -> Any:
    """Returns, for each parameter, whether weight decay applies to it: kernels and embeddings only."""

    def is_matrix(path: tuple[Any, ...], _: Any) -> bool:
        return path[-1].key in ("kernel", "embedding")

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def build_optimizer(
    *,
    steps: int,
    name: str = "adamw",
    learning_rate: float = 1e-3,
    clip_norm: float | None = 1.0,
    schedule: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Makes the optimizer of a run.

    Args:
      steps: how many steps the run has.
      name: adamw, lion or sgd.
      learning_rate: the largest that the schedule reaches.
      clip_norm: gradients of a larger global norm are scaled down to it; None does not clip.
      schedule: the section `config.optimizer.schedule`: its name (default warmup_cosine) and options.
      **options: the optimizer's own.

    Returns:
      The gradient transformation, and the learning rate as a function of the step.

    Raises:
      Refused: a name or an option is unknown, or a value cannot be used.
    """
    if learning_rate < 0:
        raise Refused(f"optimizer.learning_rate={learning_rate}: give a number of at least 0.")
    if clip_norm is not None and clip_norm <= 0:
        raise Refused(f"optimizer.clip_norm={clip_norm}: give a number above 0, or None for no clipping.")
    section = {"name": "warmup_cosine", **(schedule or {})}
    rate = schedules.build(section.pop("name"), peak=learning_rate, steps=steps, **section)
    optimizer = optimizers.build(name, schedule=rate, **options)
    clip = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    return optax.chain(*clip, optimizer), rate


def own_options(builder: Any) -> dict[str, inspect.Parameter]:
    """Returns the parameters of an optimizer or a schedule that a config sets, by name."""
    given = ("schedule", "peak", "steps")
    return {key: value for key, value in inspect.signature(builder).parameters.items() if key not in given}
