"""The softmax over the last axis of what a mask leaves: exact, and finite where it leaves nothing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_exponentials(
    logits: Float[Array, "*rows S"], visible: Bool[Array, "*seen s"], scale: Float[Array, ""] | float = 1.0
) -> tuple[Float[Array, "*rows S"], Float[Array, "*rows"], Float[Array, "*rows"]]:
    """Returns weights before they are divided, at most 1 and 0 for hidden keys; what divides them; the log-normaliser.

    A row with nothing to see has weights 0, a divisor of 1 and -inf, with zero gradients.

    Args:
      logits: of each key.
      visible: which keys count.
      scale: multiplies the logits, positive: where they are subtracted and exponentiated it costs nothing.
    """
    logits = jnp.where(visible, logits, -jnp.inf)
    lowest = jnp.finfo(logits.dtype).min
    highest = jax.lax.stop_gradient(logits.max(-1, keepdims=True, initial=lowest))
    exponentials = jnp.exp((logits - highest) * scale)
    total = exponentials.sum(-1)
    empty = total == 0
    total = jnp.where(empty, 1, total)
    return exponentials, total, jnp.where(empty, -jnp.inf, jnp.log(total) + highest[..., 0] * scale)


def masked_softmax(logits: Float[Array, "*rows S"], visible: Bool[Array, "*seen s"]) -> Float[Array, "*rows S"]:
    """Returns weights that are 0 for hidden keys; all are where nothing is to be seen."""
    exponentials, total, _ = masked_exponentials(logits, visible)
    # Once more, so that what a hidden value does to the gradient of its weight stays out of the sum over the row.
    return jnp.where(visible, exponentials, 0) / total[..., None]
