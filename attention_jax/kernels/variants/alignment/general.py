"""softmax(q^T W k) v: Luong et al. 2015, equation 8, "general". Query and key may differ in width; it has no scale."""

import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.arrays import Params, Sizes, normal
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, register
from attention_jax.kernels.variants.alignment.luong import SOURCE


def _prepare_query(query: Array, given: Given) -> Array:
    return jnp.einsum("btnh,nhj->btnj", query, given.params["weight"].astype(query.dtype))


def _scaled_identity(sizes: Sizes) -> Params:
    identity = jnp.eye(sizes.query, sizes.key) / jnp.sqrt(sizes.key)
    return {"weight": jnp.broadcast_to(identity, (sizes.heads, sizes.query, sizes.key))}


@register(
    source=SOURCE,
    claims=Claims(
        unequal_widths=True,
        limits=(Limit("general", equals="scaled_dot", tolerance=1e-5, params=_scaled_identity),),
    ),
    aliases=("multiplicative", "bilinear"),
)
def general() -> SoftmaxScore:
    """Softmax of a learned bilinear form of query and key, one for each head."""
    # The paper draws from U(-0.1, 0.1) at width 1000; this gives the logits of unit inputs unit variance at any width.
    return SoftmaxScore(prepare_query=_prepare_query, arrays={"weight": normal("N", "H", "J", fan_in=(-2, -1))})
