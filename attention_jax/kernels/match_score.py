"""1 / (1 + |x_i - y_j|): the match score of Yin et al. 2015, section 4."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.budget import at_a_time


def match_score(
    first: Float[Array, "B T D"], second: Float[Array, "B S D"], both: Bool[Array, "B T S"]
) -> Float[Array, "B T S"]:
    """Returns 1 / (1 + the distance) of each pair of tokens, 0 where one is hidden.

    From differences and not from products, which lose the distance of near tokens. They have B T S D elements, so they
    are formed for a few tokens at a time, and again in the backward pass. Of equal tokens the derivative is 0.
    """

    @jax.checkpoint
    def row(token: Float[Array, "B D"]) -> Float[Array, "B S"]:
        squares = ((token[:, None] - second) ** 2).sum(-1)
        apart = squares > 0
        return 1 / (1 + jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1)), 0))

    rows = at_a_time(first.shape[1], second.size)
    scores = jax.lax.map(row, first.swapaxes(0, 1), batch_size=rows)
    return jnp.where(both, scores.swapaxes(0, 1), 0)
