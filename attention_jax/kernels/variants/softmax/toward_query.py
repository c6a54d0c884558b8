"""Sums over the keys that lie between one key and the query, in the order of positions."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Place


def summed_from_last(values: Float[Array, "B N t S"], place: Place, *, own: bool) -> Float[Array, "B N t S"]:
    """Returns for each key the sum of the values of the keys after it, by position.

    The sum starts at the last key, so that near the query it rounds least.

    Args:
      values: one for each pair; 0 for a key that does not count.
      place: where the pairs lie.
      own: whether the key's own value is in its sum.
    """
    order = jnp.broadcast_to(jnp.argsort(-place.key, axis=-1), (values.shape[0], values.shape[-1]))[:, None, None]
    from_last = jnp.take_along_axis(values, order, axis=-1)
    sums = jnp.cumsum(from_last, axis=-1)
    if not own:
        sums = jnp.pad(sums[..., :-1], [(0, 0)] * 3 + [(1, 0)])
    return jnp.take_along_axis(sums, jnp.argsort(order, axis=-1), axis=-1)
