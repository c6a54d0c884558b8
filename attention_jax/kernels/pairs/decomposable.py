"""e_ij = F(a_i)^T F(b_j), beta_i = sum_j softmax_j(e_ij) b_j, alpha_j = sum_i softmax_i(e_ij) a_i: Parikh et al. 2016.

Equations 1 and 2. F is two layers with a relu each; what compares a_i with beta_i, and sums it up, is the model's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, constant, normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, by_place, register_pair
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _layers(tokens: Float[Array, "B T D"], params: Params) -> Float[Array, "B T A"]:
    for layer in ("first", "last"):
        inner = jnp.einsum("btd,de->bte", tokens, params[f"{layer}_kernel"])
        tokens = jax.nn.relu(inner + params[f"{layer}_bias"][None, None])
    return tokens


def _pair(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
    of_first, of_second = (_layers(array, given.params) for array in (first, second))
    affinity = jnp.where(given.both, jnp.einsum("bta,bsa->bts", of_first, of_second), 0)
    second_weights = masked_softmax(affinity, given.both)
    first_weights = masked_softmax(affinity.swapaxes(1, 2), given.both.swapaxes(1, 2)).swapaxes(1, 2)
    beta = jnp.einsum("bts,bsd->btd", second_weights, second)
    alpha = jnp.einsum("bts,btd->bsd", first_weights, first)
    return Paired(by_place(beta, given.first), by_place(alpha, given.second), affinity, first_weights, second_weights)


@register_pair(
    source=Source(
        "A Decomposable Attention Model for Natural Language Inference",
        "equations 1 and 2",
        authors="Parikh, Ankur P. and Täckström, Oscar and Das, Dipanjan and Uszkoreit, Jakob",
        year=2016,
        venue="EMNLP 2016",
        arxiv="1606.01933",
    ),
    claims=PairClaims(swapped=lambda params: params, tried="decomposable:hidden=3"),
    aliases=("decomposable_attention",),
)
def decomposable(*, hidden: int | None = None) -> Pair:
    """Of each token of either sequence its soft alignment: what it takes of the other.

    Args:
      hidden: the width of the two layers that tokens are compared behind; None is that of a token.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"decomposable has hidden={hidden}: the layers need at least 1 unit.")
    inner = hidden or "D"
    return Pair(
        pair=_pair,
        arrays={
            "first_kernel": normal("D", inner),
            "last_kernel": normal(inner, inner),
            "first_bias": constant(0.0, inner),
            "last_bias": constant(0.0, inner),
        },
    )
