"""A = softmax(W_2 tanh(W_1 H^T)), M = A H: Lin et al. 2017, equations 5 to 8. Each row of A is a hop."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source


def _pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    inner = jnp.tanh(jnp.einsum("btd,ad->bta", hidden, given.params["hidden"]))
    logits = jnp.einsum("bta,ra->brt", inner, given.params["hops"])
    weights = masked_softmax(logits, given.visible[:, None])
    means = jnp.einsum("brt,btd->brd", weights, hidden)
    overlap = jnp.einsum("brt,bst->brs", weights, weights) - jnp.eye(weights.shape[1], dtype=weights.dtype)[None]
    return Pooled(means.reshape(means.shape[0], -1), weights, {"penalty": (overlap**2).sum((1, 2))})


@register_pooling(
    source=Source(
        "A Structured Self-attentive Sentence Embedding",
        "equations 5 to 8",
        authors="Lin, Zhouhan and Feng, Minwei and dos Santos, Cicero Nogueira and Yu, Mo and Xiang, Bing and "
        "Zhou, Bowen and Bengio, Yoshua",
        year=2017,
        venue="ICLR 2017",
        arxiv="1703.03130",
    ),
    claims=PoolingClaims(equal_at_zero=("hops",), tried="self_attentive:hops=2,hidden=3"),
    aliases=("structured_self_attention",),
)
def self_attentive(*, hops: int = 4, hidden: int | None = None) -> Pooling:
    """Several means, each by the softmax of a one-layer network on the tokens; its aux is the penalty |A A^T - I|^2.

    Args:
      hops: how many means, one after the other in `out`.
      hidden: the width of the hidden layer; None is that of a token.

    Raises:
      Refused: one of them is smaller than 1.
    """
    for name, size in (("hops", hops), ("hidden", hidden)):
        if size is not None and size < 1:
            raise Refused(f"self_attentive has {name}={size}: give at least 1.")
    inner = hidden or "D"
    return Pooling(
        pool=_pool,
        arrays={
            "hidden": normal(inner, "D", fan_in=(-1,)),
            "hops": normal(hops, inner, fan_in=(-1,)),
        },
    )
