"""The network that compares a query with a key, W q + U k and what follows: what all its users share."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, normal
from attention_jax.kernels.mechanism import Given, to_statistics


def arrays(hidden: int | None, *, owner: str, prefix: str = "") -> dict[str, Declared]:
    """Declares `query` [N, H, A], `key` [K, J, A] and `value` [N, A], A = hidden, or H for None.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"{owner} has hidden={hidden}: the hidden layer needs at least 1 unit.")
    width = hidden or "H"
    return {
        f"{prefix}query": normal("N", "H", width),
        f"{prefix}key": normal("K", "J", width),
        f"{prefix}value": normal("N", width, fan_in=(-1,)),
    }


def prepare_query(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N A"]:
    """The `prepare_query` that is W q, one W for each head."""
    return jnp.einsum("btnh,nha->btna", query, given.params["query"].astype(query.dtype))


def prepare_key(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K A"]:
    """The `prepare_key` that is U k, one U for each key head."""
    return jnp.einsum("bskj,kja->bska", key, given.params["key"].astype(key.dtype))


def by_query_head(key: Float[Array, "B S K A"], heads: int) -> Float[Array, "B N S A"]:
    """Returns the keys of each query head, in the dtype of statistics."""
    return to_statistics(jnp.repeat(key, heads // key.shape[2], axis=2)).swapaxes(1, 2)


def energies(
    query: Float[Array, "B N A"], key: Float[Array, "B S K A"], value: Float[Array, "N A"], *, more: Any = 0
) -> Float[Array, "B N S"]:
    """Returns v^T tanh(W q + U k + more) of one query with all keys; `more` broadcasts to [B, N, S, A]."""
    hidden = jnp.tanh(to_statistics(query)[:, :, None] + by_query_head(key, query.shape[1]) + more)
    return jnp.einsum("bnsa,na->bns", hidden, value.astype(hidden.dtype))
