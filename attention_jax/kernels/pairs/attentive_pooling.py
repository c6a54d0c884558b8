"""G = tanh(Q^T U A), the rows' and the columns' maxima through a softmax: dos Santos et al. 2016, section 4.

The first sequence is the paper's question Q, the second its answer A; r_q = Q softmax(max_l G_jl).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, register_pair
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _pair(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
    affinity = jnp.tanh(jnp.einsum("btd,de,bse->bts", first, given.params["affinity"], second, optimize=True))
    seen = jnp.where(given.both, affinity, -2)  # below every tanh
    first_weights = masked_softmax(seen.max(2), given.first)
    second_weights = masked_softmax(seen.max(1), given.second)
    return Paired(
        jnp.einsum("bt,btd->bd", first_weights, first),
        jnp.einsum("bs,bsd->bd", second_weights, second),
        jnp.where(given.both, affinity, 0),
        first_weights,
        second_weights,
    )


@register_pair(
    source=Source(
        "Attentive Pooling Networks",
        "section 4",
        authors="dos Santos, Cicero and Tan, Ming and Xiang, Bing and Zhou, Bowen",
        year=2016,
        arxiv="1602.03609",
    ),
    claims=PairClaims(swapped=lambda params: {"affinity": params["affinity"].T}),
)
def attentive_pooling() -> Pair:
    """A vector of each sequence, its tokens weighed by the best match that each has in the other."""
    return Pair(pair=_pair, arrays={"affinity": normal("D", "D", fan_in=(-2, -1))})
