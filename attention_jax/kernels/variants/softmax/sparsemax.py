"""The point of the probability simplex nearest to the logits: Martins & Astudillo 2016, equation 2 and algorithm 1.

w_j = [z_j - tau]_+, where tau makes them sum to 1: of the logits in falling order the first k with 1 + k z_(k) > z_(1)
+ ... + z_(k) have weight, and tau = (z_(1) + ... + z_(k) - 1) / k. Hidden keys enter no sum.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.softmax.sorting import above_threshold


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    shifted, chosen = above_threshold(rows.logits, rows.visible, _thresholds)
    size = jnp.maximum(chosen.sum(-1, keepdims=True, dtype=shifted.dtype), 1)
    threshold = (jnp.where(chosen, shifted, 0).sum(-1, keepdims=True) - 1) / size
    return jnp.where(chosen, jax.nn.relu(shifted - threshold), 0), None


def _thresholds(ordered: Array, there: Array, count: Array) -> tuple[Array, Array]:
    total = jnp.cumsum(ordered, axis=-1)
    return (total - 1) / count, 1 + count * ordered > total


@register(
    source=Source(
        "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label Classification",
        "equation 2",
        authors="Martins, André F. T. and Astudillo, Ramón Fernandez",
        year=2016,
        venue="ICML 2016",
        arxiv="1602.02068",
    ),
    claims=Claims(lse=False, weighted="some"),
)
def sparsemax() -> RowScore:
    """The scaled dot products projected onto the simplex: few keys have weight, all others exactly none."""
    return RowScore(scale=None, normalise=_normalise)
