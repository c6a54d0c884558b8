"""w_j = e^z_j / (e^sink + sum_l e^z_l), the sink learned, one for each head: OpenAI 2025 (gpt-oss), section 2.

The sink is a logit, compared with the scaled ones, and has a value of 0: what it takes goes nowhere. At -inf it is
scaled dot-product attention; held at 0 it is `softmax1`.
"""

import jax.numpy as jnp

from attention_jax.kernels.arrays import constant
from attention_jax.kernels.composition import Composition
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.sink import with_sink


@register(
    source=Source(
        "gpt-oss-120b & gpt-oss-20b Model Card",
        "section 2",
        authors="OpenAI",
        year=2025,
        arxiv="2508.10925",
    ),
    claims=Claims(
        convex=False,
        limits=(
            Limit(
                "learned_sink",
                equals="scaled_dot",
                tolerance=2e-6,
                params=lambda sizes: {"sink": jnp.full(sizes.heads, -1e4)},
            ),
            Limit(
                "learned_sink",
                equals="softmax1",
                tolerance=2e-6,
                params=lambda sizes: {"sink": jnp.zeros(sizes.heads)},
            ),
        ),
    ),
    aliases=("attention_sink",),
)
def learned_sink() -> Composition:
    """Softmax of scaled dot products that may also attend to nothing, by a logit that each head learns."""
    score = SoftmaxScore(scale=None, arrays={"sink": constant(0.0, "N")})
    return with_sink(score, lambda given: given.params["sink"])
