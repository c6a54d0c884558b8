"""softmax(w^T tanh(W s + V h_j + U f_j + b)), f = F * w_{t-1}: Chorowski et al. 2015, equations 5, 8 and 9.

F are filters over the places of the keys, run over the weights of the query before; `cumulative` runs them over the sum
of all weights so far (Shen et al. 2018, Tacotron 2). Before the first query both are 0. The sharpening and smoothing of
its section 2.3 belong to a model that needs them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import constant, normal
from attention_jax.kernels.mechanism import Given
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.alignment import network
from attention_jax.kernels.variants.alignment.states import CLAIMS, nowhere


def _filtered(weights: Float[Array, "B N S"], filters: Float[Array, "F W"]) -> Float[Array, "B N S F"]:
    """The convolution of the weights with each filter, as long as they are, 0 beyond the ends."""
    count, width = filters.shape
    batch, heads, keys = weights.shape
    return jax.lax.conv_general_dilated(
        weights.reshape(batch * heads, 1, keys),
        filters[:, None].astype(weights.dtype),
        window_strides=(1,),
        padding=[(width // 2, width - 1 - width // 2)],
    ).reshape(batch, heads, count, keys).swapaxes(2, 3)  # fmt: skip


@register(
    source=Source(
        "Attention-Based Models for Speech Recognition",
        "equations 5, 8 and 9",
        authors="Chorowski, Jan and Bahdanau, Dzmitry and Serdyuk, Dmitriy and Cho, Kyunghyun and Bengio, Yoshua",
        year=2015,
        venue="NeurIPS 2015",
        arxiv="1506.07503",
    ),
    claims=CLAIMS(tried="location_sensitive:hidden=3,filters=2,width=3"),
)
def location_sensitive(
    *, hidden: int | None = None, filters: int = 10, width: int = 31, cumulative: bool = False
) -> Alignment:
    """Softmax of a network on query, key and where the query before has looked, one network for each head.

    Args:
      hidden: the width of its hidden layer; None is the width of a query head.
      filters: how many filters look at the earlier weights.
      width: how many keys a filter covers.
      cumulative: they look at the sum of all earlier weights.

    Raises:
      Refused: a number is smaller than 1.
    """
    if min(filters, width) < 1:
        raise Refused(f"location_sensitive has filters={filters} and width={width}: each must be at least 1.")
    units = hidden or "H"

    def step(
        state: Float[Array, "B N S"],
        query: Float[Array, "B N A"],
        key: Float[Array, "B S K A"],
        visible: Bool[Array, "B N S"],
        given: Given,
    ) -> Looked:
        filtered = _filtered(state, given.params["filters"])
        more = jnp.einsum("bnsf,nfa->bnsa", filtered, given.params["location"].astype(filtered.dtype))
        more = more + given.params["bias"].astype(filtered.dtype)[None, :, None]
        scores = network.energies(query, key, given.params["value"], more=more)
        weights = masked_softmax(scores, visible)
        return Looked(weights, state + weights if cumulative else weights)

    return Alignment(
        arrays=network.arrays(hidden, owner="location_sensitive")
        | {
            "filters": normal(filters, width, fan_in=(-1,)),
            "location": normal("N", filters, units),
            "bias": constant(0.0, "N", units),
        },
        prepare_query=network.prepare_query,
        prepare_key=network.prepare_key,
        start=nowhere,
        step=step,
    )
