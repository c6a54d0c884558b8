"""Between softmax and sparsemax: Peters, Niculae & Martins 2019, equation 9 with alpha = 1.5, and algorithm 2.

w_j = [z_j / 2 - tau]_+^2, where tau makes them sum to 1: of the first k logits x = z / 2 in falling order, with mean M
and sum of squared deviations D, tau_k = M - sqrt((1 - D) / k), and the k largest have weight for the last k at which
tau_k is not above x_(k). Hidden keys enter no sum.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.softmax.sorting import above_threshold


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    shifted, chosen = above_threshold(rows.logits / 2, rows.visible, _thresholds)
    size = jnp.maximum(chosen.sum(-1, keepdims=True, dtype=shifted.dtype), 1)
    mean = jnp.where(chosen, shifted, 0).sum(-1, keepdims=True) / size
    # Of the chosen themselves: the difference of two sums of squares would round more than the weights may.
    deviation = jnp.where(chosen, (shifted - mean) ** 2, 0).sum(-1, keepdims=True)
    threshold = mean - jnp.sqrt(jnp.maximum(1 - deviation, jnp.finfo(mean.dtype).tiny) / size)
    return jnp.where(chosen, jax.nn.relu(shifted - threshold) ** 2, 0), None


def _thresholds(ordered: Array, there: Array, count: Array) -> tuple[Array, Array]:
    mean = jnp.cumsum(ordered, axis=-1) / count
    left = (1 - (jnp.cumsum(ordered**2, axis=-1) - count * mean**2)) / count
    thresholds = mean - jnp.sqrt(jnp.maximum(left, 0))
    return thresholds, (left > 0) & (thresholds <= ordered)


@register(
    source=Source(
        "Sparse Sequence-to-Sequence Models",
        "equation 9, alpha = 1.5",
        authors="Peters, Ben and Niculae, Vlad and Martins, André F. T.",
        year=2019,
        venue="ACL 2019",
        arxiv="1905.05702",
    ),
    claims=Claims(lse=False, weighted="some"),
)
def entmax15() -> RowScore:
    """The 1.5-entmax of scaled dot products: sparse as sparsemax is, and smooth."""
    return RowScore(scale=None, normalise=_normalise)
