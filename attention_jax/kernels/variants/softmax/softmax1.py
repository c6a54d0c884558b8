"""w_j = e^z_j / (1 + sum_l e^z_l): Miller 2023, "Attention Is Off By One": a sink whose logit is 0."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.composition import Composition
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.sink import with_sink


def _zero(given: Given) -> Float[Array, " 1"]:
    return jnp.zeros(1)


@register(
    source=Source("Attention Is Off By One", "softmax-1", authors="Miller, Evan", year=2023),
    claims=Claims(convex=False),
    aliases=("softmax_off_by_one", "quiet_softmax"),
)
def softmax1() -> Composition:
    """Softmax of scaled dot products with 1 added to what divides them, so that a query may attend to nothing."""
    return with_sink(SoftmaxScore(scale=None), _zero)
