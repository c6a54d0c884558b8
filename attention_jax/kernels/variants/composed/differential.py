"""norm((softmax(q1 k1^T) - lambda softmax(q2 k2^T)) v) (1 - lambda_init): Ye et al. 2024, equations 1 to 3.

q1, q2 and k1, k2 are the halves of each head's query and key. lambda = exp(l_q1 . l_k1) - exp(l_q2 . l_k2) +
lambda_init is one number for all heads of a layer, lambda_init = 0.8 - 0.6 exp(-0.3 (layer - 1)). The norm is an
RMSNorm of each head by itself; the paper's equation leaves out the gain that its code learns for it. The paper gives a
head values twice as wide as its halves, so a model has half the heads of others with as many parameters.

A map of weights may be negative and sums to 1 - lambda: what `weights` returns is that map, before the norm.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Sizes, constant
from attention_jax.kernels.composition import Composition, Solve, part, past_nan
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.composed.difference import less

EPSILON = 1e-5


def _half(sizes: Sizes) -> int:
    if sizes.query % 2:
        raise Refused(f"differential halves each head, whose width is {sizes.query}: give heads of an even width.")
    return sizes.query // 2


def _vector(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    return 0.1 * jax.random.normal(rng, shape, jnp.float32)


def _start(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    return 0.8 - 0.6 * jnp.exp(jnp.float32(-0.3 * (sizes.layer - 1)))


_OF_LAMBDA = {name: Declared((_half,), _vector) for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")}
_ARRAYS = {**_OF_LAMBDA, "gain": constant(1.0, "Hv"), "lambda_init": Declared((), _start, trained=False, by_layer=True)}
_SCORE = SoftmaxScore(scale=None, arrays=_ARRAYS)


def _run(problem: Problem, solve: Solve) -> AttentionOutput:
    halves = zip(jnp.split(problem.query, 2, axis=-1), jnp.split(problem.key, 2, axis=-1), strict=True)
    first, second = (
        solve(part(problem, _SCORE, name=f"map {number}", query=query, key=key, outputs=problem.outputs))
        for number, (query, key) in enumerate(halves, 1)
    )
    params = problem.params
    start = params["lambda_init"]
    plus, minus = (jnp.exp(params[f"lambda_q{half}"] @ params[f"lambda_k{half}"]) for half in (1, 2))
    share = plus - minus + start

    out = _normalised(less(first.out, second.out, share), params["gain"])
    out = (out * (1 - start).astype(out.dtype)).astype(problem.query.dtype)
    if first.weights is None or second.weights is None:
        return AttentionOutput(out)
    return AttentionOutput(out, weights=less(first.weights, second.weights, share))


def _normalised(heads: Float[Array, "B T N Hv"], gain: Float[Array, " Hv"]) -> Float[Array, "B T N Hv"]:
    mean_square = (heads**2).mean(-1, keepdims=True)
    return heads * jax.lax.rsqrt(mean_square + EPSILON) * gain.astype(heads.dtype)[None, None, None]


@register(
    source=Source(
        "Differential Transformer",
        "equations 1 to 3",
        authors="Ye, Tianzhu and Dong, Li and Xia, Yuqing and Sun, Yutao and Zhu, Yi and Huang, Gao and Wei, Furu",
        year=2024,
        venue="ICLR 2025",
        arxiv="2410.05258",
    ),
    claims=Claims(lse=False),
    aliases=("diff_transformer",),
)
def differential() -> Composition:
    """Softmax attention of one half of each head less a learned share of that of the other half, then normalised."""
    return Composition(run=past_nan(_run), arrays=_ARRAYS)
