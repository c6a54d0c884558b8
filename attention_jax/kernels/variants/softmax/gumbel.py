"""softmax((z + g) / tau), g Gumbel noise: Jang, Gu & Poole 2016, equation 2; Maddison, Mnih & Teh 2016.

The noise of a pair depends on its place alone; hidden keys are left out before it. tau -> 0 is a draw from softmax(z).
`hard=True` is that draw itself, with the derivative of the soft weights (straight-through). Without a key for draws
there is no noise.
"""

import jax
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.softmax.drawing import largest, perturbed


@register(
    source=Source(
        "Categorical Reparameterization with Gumbel-Softmax",
        "equation 2",
        authors="Jang, Eric and Gu, Shixiang and Poole, Ben",
        year=2016,
        venue="ICLR 2017",
        arxiv="1611.01144",
    ),
    claims=Claims(
        lse=False,
        weighted="some",
        limits=(Limit("gumbel", equals="scaled_dot", tolerance=2e-6),),
    ),
    aliases=("gumbel_softmax",),
)
def gumbel(*, tau: float = 1.0, hard: bool = False) -> RowScore:
    """Softmax of scaled dot products with noise: a draw of a key that has a derivative.

    Args:
      tau: the temperature, above 0.
      hard: whether the output is that of the one key drawn.

    Raises:
      Refused: tau is not positive.
    """
    if not tau > 0:
        raise Refused(f"gumbel has tau={tau}: a temperature is above 0; for one key alone give hard=True.")

    def normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
        logits = perturbed(rows, given)
        soft = masked_softmax(logits / tau, rows.visible)
        return (largest(logits, rows) + soft - jax.lax.stop_gradient(soft) if hard else soft), None

    return RowScore(scale=None, normalise=normalise, draws=True)
