"""What is drawn for each weight, a pure function of (key, batch, head, query position, key position): its dropout.

Every engine, block size and sharding draws the same mask, because no draw depends on the shape it is drawn in.
"""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from attention_jax.kernels.mechanism import Place


def keep_mask(rng: PRNGKeyArray, rate: float, place: Place) -> Bool[Array, "B N T S"]:
    """Returns which weights stay.

    Args:
      rng: a key, typed or raw.
      rate: the share of weights that go, in [0, 1).
      place: the sequences, heads and positions asked for.
    """
    return random_bits(rng, place) >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def uniform(rng: PRNGKeyArray, place: Place) -> Float[Array, "B N T S"]:
    """Returns float32 numbers in (0, 1), one for each pair, which depend on its place alone."""
    return (random_bits(rng, place) >> 9).astype(jnp.float32) * 2**-23 + 2**-24


def random_bits(rng: PRNGKeyArray, place: Place) -> UInt32[Array, "B N T S"]:
    """Returns 32 random bits for each pair of a query and a key.

    Args:
      rng: a key, typed or raw.
      place: the sequences, heads and positions asked for.
    """

    def pair(batch: Array, head: Array, query: Array, key: Array) -> Array:
        own = jax.random.fold_in(jax.random.fold_in(rng, batch), head)
        raw = jax.random.key_data(own) if jnp.issubdtype(own.dtype, jax.dtypes.prng_key) else own
        rows, columns = jnp.broadcast_arrays(query[:, None].astype(jnp.uint32), key[None, :].astype(jnp.uint32))
        bits = threefry_2x32(raw[-2:], jnp.concatenate([rows.ravel(), columns.ravel()]))
        return bits[: rows.size].reshape(rows.shape)

    over_heads = jax.vmap(pair, in_axes=(None, 0, None, None))
    size = place.batch.shape[0]
    query, key = (jnp.broadcast_to(p, (size, p.shape[-1])) for p in (place.query, place.key))
    return jax.vmap(over_heads, in_axes=(0, None, 0, 0))(place.batch, place.heads, query, key)


def dropped(
    weights: Float[Array, "B N T S"], rng: PRNGKeyArray | Array | None, rate: float, place: Place
) -> Float[Array, "B N T S"]:
    """Returns the weights at a place after dropout; all of them at a rate of 0."""
    if rng is None or rate == 0:
        return weights
    return drop(weights, keep_mask(rng, rate, place), rate)


def drop(weights: Float[Array, "B N T S"], keep: Bool[Array, "B N T S"], rate: float) -> Float[Array, "B N T S"]:
    """Returns the weights that stay, divided by the share that does, so that their expectation is unchanged."""
    return jnp.where(keep, weights / (1.0 - rate), 0)
