"""What normalisers with a threshold have in common: which keys are above it, by the logits in falling order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def above_threshold(
    logits: Float[Array, "B N T S"],
    visible: Bool[Array, "B N T S"],
    thresholds: Callable[[Array, Array, Array], tuple[Array, Array]],
) -> tuple[Float[Array, "B N T S"], Bool[Array, "B N T S"]]:
    """Returns the logits less the largest visible one, and which of them have weight.

    The choice has no derivative; that of the weights is of what is computed from the chosen.

    Args:
      logits: of all keys.
      visible: which of them count.
      thresholds: (logits in falling order, which of these are there, 1 ... S) -> for each k the threshold if the
        first k had weight, and whether they may; the last k that may is right.
    """
    highest = jax.lax.stop_gradient(jnp.where(visible, logits, -jnp.inf).max(-1, keepdims=True))
    shifted = logits - jnp.where(highest == -jnp.inf, 0, highest)
    fixed = jax.lax.stop_gradient(shifted)
    ordered = -jnp.sort(jnp.where(visible, -fixed, jnp.inf), axis=-1)
    there = ordered > -jnp.inf
    count = jnp.arange(1, logits.shape[-1] + 1, dtype=logits.dtype).reshape(1, 1, 1, -1)
    found, may = thresholds(jnp.where(there, ordered, 0), there, count)
    last = jnp.maximum((may & there).sum(-1, keepdims=True) - 1, 0)
    return shifted, visible & (fixed > jnp.take_along_axis(found, last, axis=-1))
