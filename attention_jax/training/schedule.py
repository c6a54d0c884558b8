"""Learning-rate schedules by name, each with a linear warm-up.

The peak may be a number of a run that a compiled step is handed: none asks for its value.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean

schedules: Catalogue = Catalogue("learning-rate schedule", "attention_jax.training")

# What is left of the rate when a share of the decay is behind: Haegele et al. 2024, section 3.
DECAYS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda share: 1 - share,
    "one_minus_sqrt": lambda share: 1 - jnp.sqrt(share),
}


@schedules.register
def constant(*, peak: ArrayLike, steps: int, warmup_steps: int = 0) -> optax.Schedule:
    """Linear warm-up to `peak`, then constant."""
    _check_warmup(warmup_steps, steps)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup_steps), optax.constant_schedule(peak)], [warmup_steps]
    )


@schedules.register
def warmup_cosine(*, peak: ArrayLike, steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> optax.Schedule:
    """Linear warm-up to `peak`, then a half cosine to `final_fraction` of it at the last step."""
    _check_warmup(warmup_steps, steps)
    _check_final(final_fraction)
    up = optax.linear_schedule(0.0, peak, warmup_steps)
    down = optax.cosine_decay_schedule(peak, steps - warmup_steps, alpha=final_fraction)
    return optax.join_schedules([up, down], [warmup_steps])


@schedules.register
def warmup_linear(*, peak: ArrayLike, steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> optax.Schedule:
    """Linear warm-up to `peak`, then linear to `final_fraction` of it at the last step."""
    _check_warmup(warmup_steps, steps)
    _check_final(final_fraction)
    up = optax.linear_schedule(0.0, peak, warmup_steps)
    down = optax.linear_schedule(peak, peak * final_fraction, steps - warmup_steps)
    return optax.join_schedules([up, down], [warmup_steps])


@schedules.register
def rsqrt(*, peak: ArrayLike, steps: int, warmup_steps: int = 1) -> optax.Schedule:
    """Linear warm-up to `peak`, then peak sqrt(warmup_steps / step): Vaswani et al. 2017, equation 3."""
    if warmup_steps < 1:
        raise Refused(f"optimizer.schedule.warmup_steps={warmup_steps}: rsqrt falls from its warm-up; give at least 1.")

    def schedule(step: ArrayLike) -> jax.Array:
        step = jnp.maximum(step, 1)
        return jnp.asarray(peak * jnp.minimum(step / warmup_steps, jnp.sqrt(warmup_steps / step)))

    return schedule


@schedules.register
def wsd(
    *,
    peak: ArrayLike,
    steps: int,
    warmup_steps: int = 0,
    decay_fraction: float = 0.2,
    decay: str = "one_minus_sqrt",
    final_fraction: float = 0.0,
) -> optax.Schedule:
    """Warm-up, stable, decay: Hu et al. 2024 (MiniCPM), section 4; the forms of decay are Haegele et al. 2024's.

    Args:
      peak: the rate of the stable part.
      steps: of the run.
      warmup_steps: over which the rate rises linearly.
      decay_fraction: the share of the run's steps, the last ones, in which it falls.
      decay: "linear" (1 - x) or "one_minus_sqrt" (1 - sqrt(x)), x the share of these steps that is behind.
      final_fraction: of the peak, what is left at the last step.

    Raises:
      Refused: there is no such decay, or warm-up and decay do not fit into the run.
    """
    _check_warmup(warmup_steps, steps)
    _check_final(final_fraction)
    if decay not in DECAYS:
        raise Refused(f"optimizer.schedule.decay={decay!r}: there is no such decay.{did_you_mean(decay, DECAYS)}")
    decay_steps = round(decay_fraction * steps)
    if not 1 <= decay_steps <= steps - warmup_steps:
        raise Refused(
            f"optimizer.schedule.decay_fraction={decay_fraction} is {decay_steps} of {steps} steps, and "
            f"{steps - warmup_steps} follow the warm-up: give a share that is 1 to {steps - warmup_steps} of them."
        )

    def falling(step: ArrayLike) -> jax.Array:
        share = jnp.clip(step / decay_steps, 0, 1)
        return jnp.asarray(peak * (final_fraction + (1 - final_fraction) * DECAYS[decay](share)))

    up = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([up, optax.constant_schedule(peak), falling], [warmup_steps, steps - decay_steps])


def _check_warmup(warmup_steps: int, steps: int) -> None:
    if not 0 <= warmup_steps < steps:
        raise Refused(
            f"optimizer.schedule.warmup_steps={warmup_steps} is not in 0 to {steps - 1}: the run has {steps} steps."
        )


def _check_final(final_fraction: float) -> None:
    if not 0 <= final_fraction <= 1:
        raise Refused(
            f"optimizer.schedule.final_fraction={final_fraction}: give the share of learning_rate, in [0, 1], that is "
            "left at the last step."
        )
