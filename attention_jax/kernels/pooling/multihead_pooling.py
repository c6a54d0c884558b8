"""PMA_k(Z) = MAB(S, rFF(Z)) with k learned seeds S: Lee et al. 2018, section 3.2.

MAB(X, Y) = norm(H + rFF(H)) with H = norm(X + multihead(X, Y, Y)), each rFF a linear layer and a relu. Here logits are
divided by the root of the width of a head, as by Vaswani et al. 2017; the authors' code divides by that of all heads,
adds the projected seeds in place of the seeds, and has neither the rFF before nor the projection behind the heads.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, constant, normal
from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.source import Source

# As of every layer norm of this library.
_EPSILON = 1e-5


def _norm(array: Float[Array, "B K D"], scale: Float[Array, " D"], bias: Float[Array, " D"]) -> Float[Array, "B K D"]:
    centred = array - array.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + _EPSILON) * scale[None, None] + bias[None, None]


def _feed_forward(
    array: Float[Array, "B T D"], kernel: Float[Array, "D D"], bias: Float[Array, " D"]
) -> Float[Array, "B T D"]:
    return jax.nn.relu(jnp.einsum("btd,de->bte", array, kernel) + bias[None, None])


def _multihead(
    seeds: Float[Array, "K D"], tokens: Float[Array, "B T D"], heads: int, given: PoolingGiven
) -> tuple[Float[Array, "B K D"], Float[Array, "B R T"]]:
    params, (batch, length, width) = given.params, tokens.shape
    count, head_width = seeds.shape[0], width // heads
    query = jnp.einsum("kd,de->ke", seeds, params["query"]).reshape(count, heads, head_width)
    key, value = (
        jnp.einsum("btd,de->bte", tokens, params[name]).reshape(batch, length, heads, head_width)
        for name in ("key", "value")
    )
    logits = jnp.einsum("knh,btnh->bknt", query, key) / head_width**0.5
    weights = masked_softmax(logits, given.visible[:, None, None])
    joined = jnp.einsum("bknt,btnh->bknh", weights, value).reshape(batch, count, width)
    return jnp.einsum("bkd,de->bke", joined, params["out"]), weights.reshape(batch, count * heads, length)


@register_pooling(
    source=Source(
        "Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks",
        "section 3.2",
        authors="Lee, Juho and Lee, Yoonho and Kim, Jungtaek and Kosiorek, Adam R. and Choi, Seungjin and "
        "Teh, Yee Whye",
        year=2018,
        venue="ICML 2019",
        arxiv="1810.00825",
    ),
    claims=PoolingClaims(convex=False, equal_at_zero=("seeds",), tried="multihead_pooling:seeds=2,heads=2"),
    aliases=("pma",),
)
def multihead_pooling(*, seeds: int = 1, heads: int = 4) -> Pooling:
    """What learned seeds gather from the tokens by multi-head attention, with a layer behind it.

    Args:
      seeds: how many, one after the other in `out`.
      heads: of the attention; they divide the width of a token.

    Raises:
      Refused: one of them is smaller than 1, or the heads do not divide the width.
    """
    for name, size in (("seeds", seeds), ("heads", heads)):
        if size < 1:
            raise Refused(f"multihead_pooling has {name}={size}: give at least 1.")

    def pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
        if hidden.shape[-1] % heads:
            raise Refused(f"multihead_pooling has heads={heads}, which do not divide the width {hidden.shape[-1]}.")
        params = given.params
        tokens = _feed_forward(hidden, params["before_kernel"], params["before_bias"])
        gathered, weights = _multihead(params["seeds"], tokens, heads, given)
        inner = _norm(params["seeds"][None] + gathered, params["first_scale"], params["first_bias"])
        behind = _feed_forward(inner, params["behind_kernel"], params["behind_bias"])
        out = _norm(inner + behind, params["last_scale"], params["last_bias"])
        return Pooled(out.reshape(out.shape[0], -1), weights)

    return Pooling(pool=pool, arrays=_arrays(seeds))


def _arrays(seeds: int) -> dict[str, Declared]:
    return {
        "seeds": normal(seeds, "D", fan_in=(-1,)),
        **{name: normal("D", "D") for name in ("before_kernel", "query", "key", "value", "out", "behind_kernel")},
        **{name: constant(0.0, "D") for name in ("before_bias", "behind_bias", "first_bias", "last_bias")},
        **{name: constant(1.0, "D") for name in ("first_scale", "last_scale")},
    }
