"""w_j = sigmoid(z_j - log n), n the number of keys that the query sees: Ramapuram et al. 2024, section 3.

The paper's bias is -log of the length of the sequence; under a mask what counts is how many keys are left, so that the
weights of a row sum to about 1 at the start, whatever the mask. Each weight is of its own logit alone. x-transformers
leaves the bias to its caller, and by default has none.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.softmax.counts import number_seen


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    return jax.nn.sigmoid(rows.logits - jnp.log(number_seen(rows))), None


@register(
    source=Source(
        "Theory, Analysis, and Best Practices for Sigmoid Self-Attention",
        "section 3",
        authors=(
            "Ramapuram, Jason and Danieli, Federico and Dhekane, Eeshan and Weers, Floris and Busbridge, Dan and "
            "Ablin, Pierre and Likhomanenko, Tatiana and Digani, Jagrit and Gu, Zijin and Shidani, Amitis and "
            "Webb, Russ"
        ),
        year=2024,
        venue="ICLR 2025",
        arxiv="2409.04431",
    ),
    claims=Claims(lse=False, convex=False),
)
def sigmoid() -> RowScore:
    """The sigmoid of each scaled dot product on its own, less the log of the number of keys seen."""
    return RowScore(scale=None, normalise=_normalise)
