"""w_ij = b_ij prod_{j < l < i} (1 - b_il), b = sigmoid(z): Tan et al. 2024, equation 2, in logarithms.

Going back from the query each key takes its share of what is left of a stick of length 1; what is left at the end goes
nowhere, and is `aux["remainder"]`. As in the paper a query does not see its own token (`own=True` is the authors'
attend_current). The order of the keys says how near they are: no position encoding is needed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.softmax.toward_query import summed_from_last


def _counted(rows: Rows, given: Given, own: bool) -> Bool[Array, "B N t S"]:
    place = given.place
    assert place is not None
    itself = (place.query[:, :, None] == place.key[:, None, :])[:, None]
    return rows.visible if own else rows.visible & ~itself


def _log_left(rows: Rows, counted: Bool[Array, "B N t S"]) -> Float[Array, "B N t S"]:
    """The log of the share of what is there that each key leaves."""
    return jnp.where(counted, jax.nn.log_sigmoid(-rows.logits), 0)


@register(
    source=Source(
        "Scaling Stick-Breaking Attention: An Efficient Implementation and In-depth Study",
        "equation 2",
        authors="Tan, Shawn and Yang, Songlin and Courville, Aaron and Panda, Rameswar and Shen, Yikang",
        year=2024,
        venue="ICLR 2025",
        arxiv="2410.17980",
    ),
    claims=Claims(bidirectional=False, lse=False, weighted="some", convex=False, aux=("remainder",)),
    aliases=("sb_attention",),
)
def stick_breaking(*, own: bool = False) -> RowScore:
    """Weights that break a stick, from the key nearest before the query backwards; it needs no positions.

    Args:
      own: whether a query sees its own key.
    """

    def normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
        counted = _counted(rows, given, own)
        assert given.place is not None
        left = summed_from_last(_log_left(rows, counted), given.place, own=False)
        return jnp.where(counted, jnp.exp(jax.nn.log_sigmoid(rows.logits) + left), 0), None

    def report(rows: Rows, weights: Array, given: Given) -> dict[str, Array]:
        return {"remainder": jnp.exp(_log_left(rows, _counted(rows, given, own)).sum(-1))}

    return RowScore(scale=None, normalise=normalise, report=report)
