"""S_tj = w^T [h_t; u_j; h_t * u_j]: Seo et al. 2016, section 2, attention flow layer. h is the first, u the second.

w is split in three, so that the [T, S, 3 D] of the equation is never built. From context to query, u~_t = sum_j
softmax_j(S_tj) u_j; from query to context, h~ = sum_t softmax_t(max_j S_tj) h_t. The paper's [h_t; u~_t;
h_t * u~_t; h_t * h~] is left to the model.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, by_place, register_pair
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _pair(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
    of_first, of_second = (
        jnp.einsum("btd,d->bt", array, given.params[name]) for array, name in ((first, "first"), (second, "second"))
    )
    product = jnp.einsum("btd,bsd->bts", first * given.params["product"][None, None], second)
    affinity = jnp.where(given.both, product + of_first[:, :, None] + of_second[:, None], 0)
    second_weights = masked_softmax(affinity, given.both)
    highest = jnp.where(given.second[:, None], affinity, jnp.finfo(affinity.dtype).min).max(-1)
    first_weights = masked_softmax(highest, given.first)
    asked = by_place(jnp.einsum("bts,bsd->btd", second_weights, second), given.first)
    return Paired(asked, jnp.einsum("bt,btd->bd", first_weights, first), affinity, first_weights, second_weights)


@register_pair(
    source=Source(
        "Bidirectional Attention Flow for Machine Comprehension",
        "section 2, attention flow layer",
        authors="Seo, Minjoon and Kembhavi, Aniruddha and Farhadi, Ali and Hajishirzi, Hannaneh",
        year=2016,
        venue="ICLR 2017",
        arxiv="1611.01603",
    ),
    claims=PairClaims(),
)
def bidaf() -> Pair:
    """What each token of the first takes of the second, and the tokens of the first that suit the second best."""
    each = normal("D", fan_in=(-1,))
    return Pair(pair=_pair, arrays={"first": each, "second": each, "product": each})
