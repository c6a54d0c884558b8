"""softmax(q^T W h_t) h_t with a query of the caller's: Luong et al. 2015, equation 8, over one sequence.

Where no query is given it is a learned one and h_t is first taken through a layer, u^T tanh(W h_t + b): the attention
of the hierarchical network of Yang et al. 2016, equations 5 to 7.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import constant, normal
from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _with_query(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    asked = jnp.einsum("bq,qd->bd", given.query, given.params["weight"])
    return _mean(jnp.einsum("bd,btd->bt", asked, hidden), hidden, given)


def _with_learned(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    inner = jnp.tanh(jnp.einsum("btd,ad->bta", hidden, given.params["hidden"]) + given.params["bias"][None, None])
    return _mean(jnp.einsum("bta,a->bt", inner, given.params["context"]), hidden, given)


def _mean(logits: Float[Array, "B T"], hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    weights = masked_softmax(logits, given.visible)
    return Pooled(jnp.einsum("bt,btd->bd", weights, hidden), weights[:, None])


@register_pooling(
    source=Source(
        "Hierarchical Attention Networks for Document Classification",
        "equations 5 to 7",
        authors="Yang, Zichao and Yang, Diyi and Dyer, Chris and He, Xiaodong and Smola, Alex and Hovy, Eduard",
        year=2016,
        venue="NAACL 2016",
    ),
    claims=PoolingClaims(equal_at_zero=("weight", "context"), tried="by_query:hidden=3"),
    aliases=("general_attention", "han"),
)
def by_query(*, hidden: int | None = None) -> Pooling:
    """The mean by the softmax of a bilinear form of a query and each token; without a query, of a learned context.

    Args:
      hidden: the width of the layer that the tokens are taken through where the query is learned; None is theirs.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"by_query has hidden={hidden}: the layer needs at least 1 unit.")
    inner = hidden or "D"
    learned = Pooling(
        pool=_with_learned,
        arrays={
            "hidden": normal(inner, "D", fan_in=(-1,)),
            "bias": constant(0.0, inner),
            "context": normal(inner, fan_in=(-1,)),
        },
    )
    # The logits of unit inputs have unit variance at any width.
    weight = normal("Q", "D", fan_in=(-2, -1))
    return Pooling(pool=_with_query, arrays={"weight": weight}, takes_query=True, without_query=learned)
