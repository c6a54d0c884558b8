"""softmax(v^T tanh(W q + U k)) v_j: Bahdanau, Cho & Bengio 2014, appendix A.1.2; Luong et al.'s "concat", its W split.

W q and U k depend on one token and are computed once. Their sum has B N T S A elements, so it is formed for a few
queries at a time, and again in the backward pass.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.budget import at_a_time
from attention_jax.kernels.mechanism import Given, SoftmaxScore, to_statistics
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.alignment import network


@jax.jit  # so that calls outside jit compile the loop once
def pairwise(query: Array, key: Array, given: Given) -> Array:
    """The `pairwise` that is v^T tanh(q' + k'), v being the param "value"."""
    queries, heads = query.shape[1:3]
    key = network.by_query_head(key, heads)
    value = given.params["value"].astype(key.dtype)

    @jax.checkpoint
    def row(of_query: Array) -> Array:
        return jnp.einsum("bnsa,na->bns", jnp.tanh(of_query[:, :, None] + key), value)

    logits = jax.lax.map(row, to_statistics(query).swapaxes(0, 1), batch_size=at_a_time(queries, key.size))
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
    aliases=("bahdanau", "mlp"),
)
def additive(*, hidden: int | None = None) -> SoftmaxScore:
    """Softmax of the output of a one-layer network on query and key, one network for each head.

    Args:
      hidden: the width of its hidden layer; None is the width of a query head.

    Raises:
      Refused: hidden is smaller than 1.
    """
    return by_network(hidden, owner="additive")


def by_network(hidden: int | None, *, owner: str) -> SoftmaxScore:
    """Returns the mechanism, for whoever has its scores.

    Raises:
      Refused: hidden is smaller than 1.
    """
    return SoftmaxScore(
        arrays=network.arrays(hidden, owner=owner),
        prepare_query=network.prepare_query,
        prepare_key=network.prepare_key,
        pairwise=pairwise,
        per_head=("value",),
    )
