"""The softmax over the last axis of what a mask leaves: exact, and finite where it leaves nothing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_exponentials(
    logits: Float[Array, "*rows S"], visible: Bool[Array, "*seen s"]
) -> tuple[Float[Array, "*rows S"], Float[Array, "*rows"], Float[Array, "*rows"]]:
    """Returns weights before they are divided, at most 1 and 0 for hidden keys; what divides them; the log-normaliser.

    A row with nothing to see has weights 0, a divisor of 1 and -inf, with zero gradients.
    """
    logits = jnp.where(visible, logits, -jnp.inf)
    highest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    highest = jnp.where(highest == -jnp.inf, 0, highest)
    # The second where keeps what a hidden value does to the gradient of its weight out of the sum over the row.
    exponentials = jnp.where(visible, jnp.exp(logits - highest), 0)
    total = exponentials.sum(-1)
    empty = total == 0
    total = jnp.where(empty, 1, total)
    return exponentials, total, jnp.where(empty, -jnp.inf, jnp.log(total) + highest[..., 0])


def masked_softmax(logits: Float[Array, "*rows S"], visible: Bool[Array, "*seen s"]) -> Float[Array, "*rows S"]:
    """Returns weights that are 0 for hidden keys; all are where nothing is to be seen."""
    exponentials, total, _ = masked_exponentials(logits, visible)
    return exponentials / total[..., None]
