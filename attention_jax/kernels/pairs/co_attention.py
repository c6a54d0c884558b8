"""C = tanh(Q^T W_b V), H_v = tanh(W_v V + (W_q Q) C), a_v = softmax(w_v^T H_v): Lu et al. 2016, equations 3 to 5.

The first sequence is the paper's question Q, the second its image V, whose tokens are columns there.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, register_pair
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _pair(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
    params = given.params
    affinity = jnp.tanh(jnp.einsum("btd,de,bse->bts", first, params["affinity"], second, optimize=True))
    affinity = jnp.where(given.both, affinity, 0)
    of_first = jnp.einsum("btd,ad->bta", first, params["first_hidden"])
    of_second = jnp.einsum("bsd,ad->bsa", second, params["second_hidden"])
    inner_first = jnp.tanh(of_first + jnp.einsum("bts,bsa->bta", affinity, of_second))
    inner_second = jnp.tanh(of_second + jnp.einsum("bts,bta->bsa", affinity, of_first))
    first_weights = masked_softmax(jnp.einsum("bta,a->bt", inner_first, params["first_weight"]), given.first)
    second_weights = masked_softmax(jnp.einsum("bsa,a->bs", inner_second, params["second_weight"]), given.second)
    return Paired(
        jnp.einsum("bt,btd->bd", first_weights, first),
        jnp.einsum("bs,bsd->bd", second_weights, second),
        affinity,
        first_weights,
        second_weights,
    )


def _swapped(params: Params) -> Params:
    return {
        "affinity": params["affinity"].T,
        **{f"first_{name}": params[f"second_{name}"] for name in ("hidden", "weight")},
        **{f"second_{name}": params[f"first_{name}"] for name in ("hidden", "weight")},
    }


@register_pair(
    source=Source(
        "Hierarchical Question-Image Co-Attention for Visual Question Answering",
        "equations 3 to 5",
        authors="Lu, Jiasen and Yang, Jianwei and Batra, Dhruv and Parikh, Devi",
        year=2016,
        venue="NIPS 2016",
        arxiv="1606.00061",
    ),
    claims=PairClaims(swapped=_swapped, tried="co_attention:hidden=3"),
    aliases=("coattention", "parallel_co_attention"),
)
def co_attention(*, hidden: int | None = None) -> Pair:
    """Parallel co-attention: a vector of each sequence, by weights that come of its own tokens and the other's.

    Args:
      hidden: the width of the hidden layer; None is that of a token.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"co_attention has hidden={hidden}: the hidden layer needs at least 1 unit.")
    inner = hidden or "D"
    return Pair(
        pair=_pair,
        arrays={
            "affinity": normal("D", "D", fan_in=(-2, -1)),
            **{f"{side}_hidden": normal(inner, "D", fan_in=(-1,)) for side in ("first", "second")},
            **{f"{side}_weight": normal(inner, fan_in=(-1,)) for side in ("first", "second")},
        },
    )
