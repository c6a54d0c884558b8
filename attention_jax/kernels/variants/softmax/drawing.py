"""What mechanisms that draw a key share: the noise that makes the largest logit a draw, and the key that it chooses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels import dropout
from attention_jax.kernels.mechanism import Given, Rows

# So that what is drawn has nothing to do with what dropout draws from the same key.
_OWN_STREAM = 1


def perturbed(rows: Rows, given: Given) -> Float[Array, "B N t S"]:
    """Returns the logits with Gumbel noise, -inf for hidden keys; without a key for draws they stay as they are.

    The largest of them is then a draw from their softmax (Maddison et al. 2014).
    """
    logits = rows.logits
    if given.rng is not None:
        assert given.place is not None
        uniform = dropout.uniform(jax.random.fold_in(given.rng, _OWN_STREAM), given.place)
        logits = logits - jnp.log(-jnp.log(uniform)).astype(logits.dtype)
    return jnp.where(rows.visible, logits, -jnp.inf)


def largest(logits: Float[Array, "B N t S"], rows: Rows) -> Float[Array, "B N t S"]:
    """Returns 1 for the largest logit of each query and 0 for the others; no derivative."""
    keys = jnp.arange(logits.shape[-1]).reshape(1, 1, 1, -1)
    return ((keys == logits.argmax(-1, keepdims=True)) & rows.visible).astype(logits.dtype)
