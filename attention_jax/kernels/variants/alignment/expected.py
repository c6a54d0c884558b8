"""The expected alignment of a head that goes over the keys once, from left to right: Raffel et al. 2017.

At each query it goes on from the key where it stopped, and stops at key j with probability p_j: equation 12,
a_ij = p_ij q_ij with q_ij = (1 - p_i,j-1) q_i,j-1 + a_i-1,j. The published form divides by a cumulative product, which
underflows (equation 14); this is the recurrence itself as an associative scan over the keys.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from attention_jax.kernels.arrays import Declared, Sizes, constant
from attention_jax.kernels.dropout import uniform
from attention_jax.kernels.mechanism import Given, to_statistics
from attention_jax.kernels.variants.alignment import network
from attention_jax.kernels.variants.alignment.states import nowhere


class Where(NamedTuple):
    """The state: where the head stands.

    Attributes:
      weights: [B, N, S], the probability that the query before stopped at each key.
      begun: [B, N, 1], 1 once a query has been; before the first, all weight is on the first key that it sees.
    """

    weights: Float[Array, "B N S"]
    begun: Float[Array, "B N 1"]


def start(key: Float[Array, "B S K P"], heads: int, given: Given) -> Where:
    """The `start` of the head: at the first key that the first query sees."""
    nothing = nowhere(key, heads, given)
    return Where(nothing, nothing[..., :1])


def arrays(hidden: int | None, *, owner: str, bias: float) -> dict[str, Declared]:
    """Declares the network of the energies (equation 16): g v^T / |v| tanh(W s + V h + b) + r.

    Raises:
      Refused: hidden is smaller than 1.
    """
    units = hidden or "H"
    return network.arrays(hidden, owner=owner) | {
        "hidden_bias": constant(0.0, "N", units),
        "gain": Declared(("N", 1), _unit_gain(hidden)),
        "bias": constant(bias, "N"),
    }


def _unit_gain(hidden: int | None) -> Callable[[PRNGKeyArray, tuple[int, ...], Sizes], Array]:
    # g starts from 1 / sqrt(A), as in the paper's section 2.4.
    return lambda rng, shape, sizes: jnp.full(shape, (hidden or sizes.query) ** -0.5, jnp.float32)


def energies(query: Float[Array, "B N A"], key: Float[Array, "B S K A"], given: Given) -> Float[Array, "B N S"]:
    """Returns the energy of one query with each key."""
    value = to_statistics(given.params["value"])
    value = given.params["gain"] * value / jnp.sqrt(jnp.sum(value**2, -1, keepdims=True))
    more = to_statistics(given.params["hidden_bias"])[None, :, None]
    return network.energies(query, key, value, more=more) + given.params["bias"][None, :, None]


def stops(energy: Float[Array, "B N t S"], given: Given, *, hard: bool) -> Float[Array, "B N t S"]:
    """Returns the probability that each key stops the head; with a key for noise, of energies with N(0, 1) added."""
    if hard:
        return (energy > 0).astype(energy.dtype)
    if given.rng is not None and given.place is not None:
        noise = jnp.sqrt(2.0) * jax.lax.erf_inv(2 * uniform(given.rng, given.place) - 1)
        energy = energy + noise.astype(energy.dtype)
    return jax.nn.sigmoid(energy)


def moved(where: Where, stop: Float[Array, "B N S"], visible: Bool[Array, "B N S"]) -> Where:
    """Returns where the head is after a query; a key that the query does not see does not stop it."""
    stop = jnp.where(visible, stop, 0)
    first = visible & (jnp.cumsum(visible, -1) == 1)
    before = jnp.where(where.begun > 0, where.weights, first.astype(stop.dtype))
    passed = jnp.concatenate([jnp.zeros_like(stop[..., :1]), 1 - stop[..., :-1]], -1)
    reached = affine_scan(passed, before)
    return Where(stop * reached, jnp.ones_like(where.begun))


def affine_scan(factor: Float[Array, "*a S"], added: Float[Array, "*a S"], *, reverse: bool = False) -> Array:
    """Returns x_j = factor_j x_j-1 + added_j over the last axis; from the last key on with `reverse`."""

    def joined(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] * right[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(joined, (factor, added), reverse=reverse, axis=factor.ndim - 1)[1]


def every(stop: Float[Array, "B N T S"], visible: Bool[Array, "B N T S"], where: Where) -> Float[Array, "B N T S"]:
    """Returns the weights of all queries from all probabilities: one scan over the queries, nothing else in it."""

    def step(where: Where, of_query: tuple[Array, Array]) -> tuple[Where, Array]:
        stop, visible = of_query
        after = moved(where, stop, visible)
        some = visible.any(-1, keepdims=True)
        after = Where(*(jnp.where(some, new, old) for new, old in zip(after, where, strict=True)))
        return after, jnp.where(some, after.weights, 0)

    over_queries = (jnp.moveaxis(stop, 2, 0), jnp.moveaxis(visible, 2, 0))
    return jnp.moveaxis(jax.lax.scan(step, where, over_queries)[1], 0, 2)


def of_all_queries(
    query: Float[Array, "B T N A"],
    key: Float[Array, "B S K A"],
    visible: Bool[Array, "B N T S"],
    given: Given,
    *,
    hard: bool,
) -> Float[Array, "B N T S"]:
    """Returns the weights of all queries from the start, their energies computed together."""
    energy = jax.vmap(lambda query: energies(query, key, given), in_axes=1, out_axes=2)(query)
    return every(stops(energy, given, hard=hard), visible, start(key, query.shape[2], given))
