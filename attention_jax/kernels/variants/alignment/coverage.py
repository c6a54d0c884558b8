"""softmax(v^T tanh(W_h h_j + W_s s_t + w_c c_tj + b)), c_t the sum of all weights before: See et al. 2017, equation 11.

`aux` has "coverage_loss", the sum over keys of min(w_tj, c_tj) (equation 12), which the paper adds to its loss.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import constant, normal
from attention_jax.kernels.mechanism import Given
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.alignment import network
from attention_jax.kernels.variants.alignment.states import CLAIMS, nowhere


def _step(
    state: Float[Array, "B N S"],
    query: Float[Array, "B N A"],
    key: Float[Array, "B S K A"],
    visible: Bool[Array, "B N S"],
    given: Given,
) -> Looked:
    covered, bias = (given.params[name].astype(state.dtype)[None, :, None] for name in ("covered", "bias"))
    scores = network.energies(query, key, given.params["value"], more=state[..., None] * covered + bias)
    weights = masked_softmax(scores, visible)
    return Looked(weights, state + weights, {"coverage_loss": jnp.minimum(weights, state).sum(-1)})


@register(
    source=Source(
        "Get To The Point: Summarization with Pointer-Generator Networks",
        "equations 10 to 12",
        authors="See, Abigail and Liu, Peter J. and Manning, Christopher D.",
        year=2017,
        venue="ACL 2017",
        arxiv="1704.04368",
    ),
    claims=CLAIMS(tried="coverage:hidden=3", aux=("coverage_loss",)),
)
def coverage(*, hidden: int | None = None) -> Alignment:
    """Softmax of a network on query, key and how much weight the key has had so far, one network for each head.

    Args:
      hidden: the width of its hidden layer; None is the width of a query head.

    Raises:
      Refused: hidden is smaller than 1.
    """
    units = hidden or "H"
    return Alignment(
        arrays=network.arrays(hidden, owner="coverage")
        | {"covered": normal("N", units, fan_in=(-1,)), "bias": constant(0.0, "N", units)},
        prepare_query=network.prepare_query,
        prepare_key=network.prepare_key,
        start=nowhere,
        step=_step,
    )
