"""w_j = relu(e^z_j - 1) / (sum_l |e^z_l - 1| + eps): Zuhri, Fuadi & Aji 2025, equation 2.

A logit below 0 has no weight and takes some from the others, so that the weights may sum to less than 1: no sink is
needed. A hidden key enters no sum, where e^0 - 1 of the authors' code with a logit of -inf would add 1. All is divided
by e^m, m = max(z, 0), eps too (the authors' code leaves it as it is).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register

EPS = 1e-6


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    logits = jnp.where(rows.visible, rows.logits, 0)
    highest = jax.lax.stop_gradient(jnp.maximum(logits.max(-1, keepdims=True), 0))
    above, below = jnp.maximum(logits, 0), jnp.minimum(logits, 0)
    # e^(z - m) - e^-m in a form that neither cancels near 0 nor overflows.
    weight = -jnp.exp(above - highest) * jnp.expm1(-above)
    size = weight - jnp.exp(-highest) * jnp.expm1(below)
    return weight / (size.sum(-1, keepdims=True) + EPS * jnp.exp(-highest)), None


@register(
    source=Source(
        "Softpick: No Attention Sink, No Massive Activations with Rectified Softmax",
        "equation 2",
        authors="Zuhri, Zayd M. K. and Fuadi, Erland Hilman and Aji, Alham Fikri",
        year=2025,
        arxiv="2504.20966",
    ),
    claims=Claims(lse=False, weighted="some", convex=False),
)
def softpick() -> RowScore:
    """Rectified softmax of scaled dot products: keys below 0 have no weight, and a query may give less than all."""
    return RowScore(scale=None, normalise=_normalise)
