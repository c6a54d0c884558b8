"""softmax(v^T tanh(W [q; k])) v_j: Luong et al. 2015, equation 8, "concat".

W [q; k] = W_q q + W_k k, so that it is `additive` with the two parts of W in one array, and runs as that does. Each
head has its own W, so there are as many key heads as query heads.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, normal
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.registry import Claims, register
from attention_jax.kernels.variants.alignment.additive import pairwise
from attention_jax.kernels.variants.alignment.luong import SOURCE


def _prepare_query(query: Array, given: Given) -> Array:
    return jnp.einsum("btnh,nha->btna", query, given.params["weight"][:, : query.shape[-1]].astype(query.dtype))


def _prepare_key(key: Array, given: Given) -> Array:
    return jnp.einsum("bsnj,nja->bsna", key, given.params["weight"][:, -key.shape[-1] :].astype(key.dtype))


def _both(sizes: Sizes) -> int:
    return sizes.query + sizes.key


@register(
    source=SOURCE, claims=Claims(unequal_widths=True, grouped=False, tried="concat:hidden=3"), aliases=("luong_concat",)
)
def concat(*, hidden: int | None = None) -> SoftmaxScore:
    """Softmax of the output of a one-layer network on query and key side by side, one network for each head.

    Args:
      hidden: the width of its hidden layer; None is the width of a query head.

    Raises:
      Refused: hidden is smaller than 1.
    """
    if hidden is not None and hidden < 1:
        raise Refused(f"concat has hidden={hidden}: the hidden layer needs at least 1 unit.")
    width: Any = hidden or "H"
    return SoftmaxScore(
        arrays={"weight": normal("N", _both, width), "value": normal("N", width, fan_in=(-1,))},
        prepare_query=_prepare_query,
        prepare_key=_prepare_key,
        pairwise=pairwise,
        per_head=("value",),
    )
