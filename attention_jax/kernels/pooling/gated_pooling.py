"""softmax(w^T (tanh(V h_t) * sigmoid(U h_t))) h_t: Ilse, Tomczak & Welling 2018, equations 7 and 9."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    inner, gate = (jnp.einsum("btd,ad->bta", hidden, given.params[name]) for name in ("hidden", "gate"))
    logits = jnp.einsum("bta,a->bt", jnp.tanh(inner) * jax.nn.sigmoid(gate), given.params["weight"])
    weights = masked_softmax(logits, given.visible)
    return Pooled(jnp.einsum("bt,btd->bd", weights, hidden), weights[:, None])


@register_pooling(
    source=Source(
        "Attention-based Deep Multiple Instance Learning",
        "equations 7 and 9",
        authors="Ilse, Maximilian and Tomczak, Jakub M. and Welling, Max",
        year=2018,
        venue="ICML 2018",
        arxiv="1802.04712",
    ),
    claims=PoolingClaims(equal_at_zero=("weight",), tried="gated_pooling:hidden=3"),
    aliases=("gated_attention_mil",),
)
def gated_pooling(*, hidden: int | None = None) -> Pooling:
    """The mean by the softmax of a gated one-layer network on the tokens.

    Args:
      hidden: the width of the hidden layer; None is that of a token.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"gated_pooling has hidden={hidden}: the hidden layer needs at least 1 unit.")
    inner = hidden or "D"
    layer = normal(inner, "D", fan_in=(-1,))
    weight = normal(inner, fan_in=(-1,))
    return Pooling(pool=_pool, arrays={"hidden": layer, "gate": layer, "weight": weight})
