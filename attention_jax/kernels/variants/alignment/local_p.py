"""softmax(z) over a window times a Gaussian: Luong et al. 2015, section 3.2, local-p, equations 9 and 10.

p_t = S sigmoid(v_p^T tanh(W_p h_t)), and a_t(s) = align(h_t, h_s) exp(-(s - p_t)^2 / (2 sigma^2)) with sigma = D / 2
for the keys |s - p_t| <= D. The softmax is over the window alone, and the Gaussian comes after it: the weights sum to
less than 1. The source is the S keys that the query sees, counted from 0 in their order in the array, so that padding
is not counted, nor the future under a causal mask.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.mechanism import Given, Rows, RowScore, SoftmaxScore, to_statistics
from attention_jax.kernels.registry import Claims, Limit, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.alignment.local import score_called
from attention_jax.kernels.variants.alignment.luong import SOURCE
from attention_jax.kernels.variants.softmax.counts import number_seen


def _with_centre(score: SoftmaxScore, query: Array, given: Given) -> Float[Array, "B T N R"]:
    """The prepared query, and behind it where in the source it looks, in logits."""
    prepared = to_statistics(score.prepare_query(query, given))
    weight, vector = (given.params[name].astype(prepared.dtype) for name in ("centre_weight", "centre_vector"))
    hidden = jnp.tanh(jnp.einsum("btnh,nhj->btnj", to_statistics(query), weight))
    return jnp.concatenate([prepared, jnp.einsum("btnj,nj->btn", hidden, vector)[..., None]], axis=-1)


def _normalise(rows: Rows, given: Given, *, window: int) -> tuple[Float[Array, "B N t S"], None]:
    share = jax.nn.sigmoid(rows.query[..., -1]).swapaxes(1, 2)[..., None]
    number = jnp.cumsum(rows.visible, axis=-1, dtype=rows.logits.dtype) - 1
    distance = number - share.astype(rows.logits.dtype) * number_seen(rows)
    within = rows.visible & (jnp.abs(distance) <= window)
    return masked_softmax(rows.logits, within) * jnp.exp(-2 * (distance / window) ** 2), None


@register(
    source=replace(SOURCE, equation="section 3.2, predictive alignment (local-p), equations 9 and 10"),
    claims=Claims(
        lse=False,
        weighted="some",
        order_free=False,
        convex=False,
        limits=(Limit("local_p:window=1000000,score=dot", equals="dot", tolerance=2e-6),),
        tried="local_p:window=1",
    ),
    aliases=("luong_local_p",),
)
def local_p(*, window: int = 10, score: str = "general") -> RowScore:
    """Softmax of one of Luong's scores over a window about a place that the query predicts, nearer keys favoured.

    Args:
      window: the paper's D: how far on each side.
      score: dot or general.

    Raises:
      Refused: there is no such score, or the window is smaller than 1.
    """
    base = score_called(score, window=window, owner="local_p")
    return RowScore(
        prepare_query=lambda query, given: _with_centre(base, query, given),
        prepare_key=base.prepare_key,
        pairwise=lambda query, key, given: base.pairwise(query[..., :-1].astype(key.dtype), key, given),
        per_head=base.per_head,
        scale=base.scale,
        normalise=lambda rows, given: _normalise(rows, given, window=window),
        arrays={
            **base.arrays,
            "centre_weight": normal("N", "H", "H"),
            "centre_vector": normal("N", "H", fan_in=(-1,)),
        },
    )
