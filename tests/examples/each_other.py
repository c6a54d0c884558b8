"""A pair: e_ij = (w a_i) . b_j / sqrt(D); of each token of either sequence the mean of the other, by softmax of e."""

import jax.numpy as jnp

from attention_jax.kernels import (
    Pair,
    PairClaims,
    Paired,
    Source,
    by_place,
    constant,
    masked_softmax,
    register_pair,
)


def pair(first, second, given):
    """Tokens [B, T, D] and [B, S, D], 0 where they are hidden; given.both [B, T, S] says where neither is."""
    affinity = jnp.einsum("btd,d,bsd->bts", first, given.params["weight"], second) * first.shape[-1] ** -0.5
    affinity = jnp.where(given.both, affinity, 0)
    of_second = masked_softmax(affinity, given.both)
    of_first = masked_softmax(affinity.swapaxes(1, 2), given.both.swapaxes(1, 2))
    return Paired(
        first=by_place(jnp.einsum("bts,bsd->btd", of_second, second), given.first),
        second=by_place(jnp.einsum("bst,btd->bsd", of_first, first), given.second),
        affinity=affinity,
        first_weights=of_first.swapaxes(1, 2),
        second_weights=of_second,
    )


# The two sequences change places with the same arrays.
@register_pair(source=Source("this file", "its first line"), claims=PairClaims(swapped=lambda params: params))
def each_other() -> Pair:
    """Soft alignment of either sequence to the other by weighted dot products."""
    return Pair(pair=pair, arrays={"weight": constant(1.0, "D")})
