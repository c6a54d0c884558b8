"""softmax(v^T tanh(W q + U k)) v_j: Bahdanau, Cho & Bengio 2014, appendix A.1.2; Luong et al.'s "concat", its W split.

W q and U k depend on one token and are computed once. Their sum has B N T S A elements, so it is formed for a few
queries at a time, and again in the backward pass.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.mechanism import Given, SoftmaxScore, to_statistics
from attention_jax.kernels.registry import Claims, Source, register

# How many elements of the sum are formed at a time, at most: 16 MiB of float32.
ELEMENTS = 2**22


def _prepare_query(query: Array, given: Given) -> Array:
    return jnp.einsum("btnh,nha->btna", query, given.params["query"].astype(query.dtype))


def _prepare_key(key: Array, given: Given) -> Array:
    return jnp.einsum("bskj,kja->bska", key, given.params["key"].astype(key.dtype))


@jax.jit  # so that calls outside jit compile the loop once
def _pairwise(query: Array, key: Array, given: Given) -> Array:
    queries, heads = query.shape[1:3]
    key = to_statistics(jnp.repeat(key, heads // key.shape[2], axis=2)).transpose(0, 2, 1, 3)
    value = given.params["value"].astype(key.dtype)

    @jax.checkpoint
    def row(of_query: Array) -> Array:
        return jnp.einsum("bnsa,na->bns", jnp.tanh(of_query[:, :, None] + key), value)

    rows = max(1, ELEMENTS // key.size)
    logits = jax.lax.map(row, to_statistics(query).swapaxes(0, 1), batch_size=min(rows, queries))
    return logits.transpose(1, 2, 0, 3)


@register(
    source=Source(
        "Neural Machine Translation by Jointly Learning to Align and Translate",
        "appendix A.1.2",
        authors="Bahdanau, Dzmitry and Cho, Kyunghyun and Bengio, Yoshua",
        year=2014,
        venue="ICLR 2015",
        arxiv="1409.0473",
    ),
    claims=Claims(unequal_widths=True, tried="additive:hidden=3"),
)
def additive(*, hidden: int | None = None) -> SoftmaxScore:
    """Softmax of the output of a one-layer network on query and key, one network for each head.

    Args:
      hidden: the width of its hidden layer; None is the width of a query head.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"additive has hidden={hidden}: the hidden layer needs at least 1 unit.")

    width = hidden or "H"
    return SoftmaxScore(
        arrays={
            "query": normal("N", "H", width),
            "key": normal("K", "J", width),
            "value": normal("N", width, fan_in=(-1,)),
        },
        prepare_query=_prepare_query,
        prepare_key=_prepare_key,
        pairwise=_pairwise,
        per_head=("value",),
    )
