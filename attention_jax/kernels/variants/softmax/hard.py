"""out_i = v_j with j drawn from softmax(z_i): Xu et al. 2015, section 4.1 ("hard" attention).

Without a key for draws it takes the likeliest. The choice has no derivative: `out` tells queries and keys nothing. They
learn by REINFORCE, from aux["log_probability"] of what was drawn: the gradient of E[loss] is that of
E[loss + stop_gradient(loss - baseline) log_probability]; the paper adds aux["entropy"] to what is maximised.
x-transformers' `hard` has the derivative of the soft weights: that is `gumbel:hard=True` without a key for draws.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.softmax import masked_exponentials
from attention_jax.kernels.variants.softmax.drawing import largest, perturbed


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    return largest(perturbed(rows, given), rows), None


def _report(rows: Rows, weights: Float[Array, "B N t S"], given: Given) -> dict[str, Array]:
    exponentials, total, lse = masked_exponentials(rows.logits, rows.visible)
    log_probability = jnp.where(rows.visible, rows.logits - jnp.where(lse == -jnp.inf, 0, lse)[..., None], 0)
    return {
        "log_probability": (weights * log_probability).sum(-1),
        "entropy": -(exponentials / total[..., None] * log_probability).sum(-1),
    }


@register(
    source=Source(
        "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention",
        "section 4.1",
        authors=(
            "Xu, Kelvin and Ba, Jimmy and Kiros, Ryan and Cho, Kyunghyun and Courville, Aaron and "
            "Salakhutdinov, Ruslan and Zemel, Richard and Bengio, Yoshua"
        ),
        year=2015,
        venue="ICML 2015",
        arxiv="1502.03044",
    ),
    claims=Claims(lse=False, weighted="some", aux=("log_probability", "entropy")),
    aliases=("stochastic_hard",),
)
def hard() -> RowScore:
    """One key for each query, drawn from the softmax of scaled dot products; trained by REINFORCE."""
    return RowScore(scale=None, normalise=_normalise, report=_report, draws=True)
