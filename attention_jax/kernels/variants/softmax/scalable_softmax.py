"""softmax(s log(n) z), n the number of keys that the query sees: Nakanishi 2025 (SSMax), equation 3.

It multiplies: s log n added to each logit would cancel. s is learned, one for each head, and starts at 0.43, the s
of the paper's figure 1; n = 1 leaves a logit of 0 and so all weight on the one key.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import constant
from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.softmax.counts import number_seen


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    speed = given.params["speed"].astype(rows.logits.dtype)[None, :, None, None]
    return masked_softmax(speed * jnp.log(number_seen(rows)) * rows.logits, rows.visible), None


@register(
    source=Source(
        "Scalable-Softmax Is Superior for Attention",
        "equation 3",
        authors="Nakanishi, Ken M.",
        year=2025,
        arxiv="2501.19399",
    ),
    claims=Claims(
        lse=False,
        limits=(
            Limit(
                "scalable_softmax",
                equals="uniform",
                tolerance=2e-6,
                params=lambda sizes: {"speed": jnp.zeros(sizes.heads)},
            ),
        ),
    ),
    aliases=("ssmax",),
)
def scalable_softmax() -> RowScore:
    """Softmax that sharpens with the log of the number of keys seen, so that it does not fade as they grow."""
    return RowScore(scale=None, normalise=_normalise, arrays={"speed": constant(0.43, "N")})
