"""w_j = relu(z_j)^2 / n, n the number of keys that the query sees: Wortsman et al. 2023, section 3.

The paper divides by the length of the sequence; under a mask by what is left of it. Squares are among the activations
that it compares.
"""

import jax
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.softmax.counts import number_seen


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    return jax.nn.relu(rows.logits) ** 2 / number_seen(rows), None


@register(
    source=Source(
        "Replacing softmax with ReLU in Vision Transformers",
        "section 3",
        authors="Wortsman, Mitchell and Lee, Jaehoon and Gilmer, Justin and Kornblith, Simon",
        year=2023,
        arxiv="2309.08586",
    ),
    claims=Claims(lse=False, weighted="some", convex=False),
)
def relu_squared() -> RowScore:
    """The square of each scaled dot product that is above 0, divided by the number of keys seen."""
    return RowScore(scale=None, normalise=_normalise)
