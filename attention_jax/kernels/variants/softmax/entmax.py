"""alpha-entmax with a learned alpha: Correia, Niculae & Martins 2019, equations 3 to 5 and proposition 1.

w_j = [(alpha - 1) z_j - tau]_+^(1 / (alpha - 1)), tau such that they sum to 1, found by halving the interval that it
lies in. alpha = 1 + sigmoid(a) is in (1, 2) and learned, one a for each head: 2 is sparsemax, 1.5 (the start) entmax15,
near 1 softmax. alpha - 1 is held above 0.01, where the power would be lost in rounding.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import Params, Sizes, constant
from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Limit, Source, register

NEAREST_TO_SOFTMAX = 0.01


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    sharpness = jnp.maximum(jax.nn.sigmoid(given.params["alpha"]), NEAREST_TO_SOFTMAX)
    logits = jnp.where(rows.visible, rows.logits, -jnp.inf)
    # A row that sees nothing is given something to see; the engine takes its weights away.
    logits = jnp.where(rows.visible.any(-1, keepdims=True), logits, 0)
    return _entmax(logits, sharpness.astype(logits.dtype)[None, :, None, None]), None


@jax.custom_jvp
def _entmax(logits: Float[Array, "B N t S"], sharpness: Float[Array, "1 N 1 1"]) -> Float[Array, "B N t S"]:
    """The weights; -inf is a logit of no weight, and `sharpness` is alpha - 1."""
    shifted = sharpness * (logits - logits.max(-1, keepdims=True))

    def unnormalised(threshold: Array) -> Array:
        above = jnp.maximum(shifted - threshold, 0)
        return jnp.where(above > 0, jnp.where(above > 0, above, 1) ** (1 / sharpness), 0)

    def halve(_: int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low + high) / 2
        enough = unnormalised(middle).sum(-1, keepdims=True) >= 1
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    ends = jnp.full_like(shifted[..., :1], -1), jnp.zeros_like(shifted[..., :1])
    low, _ = jax.lax.fori_loop(0, jnp.finfo(shifted.dtype).nmant + 3, halve, ends)
    weights = unnormalised(low)
    return weights / weights.sum(-1, keepdims=True)


@_entmax.defjvp
def _derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Proposition 1 of the paper, and Peters et al. 2019 for the logits."""
    weights, (_, sharpness) = _entmax(*primals), primals
    some = weights > 0
    inner = jnp.where(some, weights, 1)
    slope = jnp.where(some, inner ** (1 - sharpness), 0)
    share = slope / slope.sum(-1, keepdims=True)
    along = jnp.where(some, tangents[0], 0)
    by_logits = slope * along - share * (slope * along).sum(-1, keepdims=True)
    surprise = jnp.where(some, -inner * jnp.log(inner), 0)
    by_alpha = (weights - share) / sharpness**2 + (surprise - share * surprise.sum(-1, keepdims=True)) / sharpness
    return weights, by_logits + by_alpha * tangents[1]


def _of(alpha: float, sizes: Sizes) -> Params:
    return {"alpha": jnp.full(sizes.heads, alpha)}


@register(
    source=Source(
        "Adaptively Sparse Transformers",
        "equations 3 to 5 and proposition 1",
        authors="Correia, Gonçalo M. and Niculae, Vlad and Martins, André F. T.",
        year=2019,
        venue="EMNLP 2019",
        arxiv="1909.00015",
    ),
    claims=Claims(
        lse=False,
        weighted="some",
        limits=(
            Limit("entmax", equals="sparsemax", tolerance=2e-6, params=lambda sizes: _of(40.0, sizes)),
            Limit("entmax", equals="entmax15", tolerance=2e-6, params=lambda sizes: _of(0.0, sizes)),
        ),
    ),
)
def entmax() -> RowScore:
    """The alpha-entmax of scaled dot products: each head learns how sparse it is, between softmax and sparsemax."""
    return RowScore(scale=None, normalise=_normalise, arrays={"alpha": constant(0.0, "N")})
