"""softmax(c tanh(z / c)): Gemma Team 2024 (Gemma 2), section 2, "logit soft-capping", c = 50 in its attention.

z is the scaled dot product with the bias; the mask comes after, or a hidden key would have a logit of -c.
"""

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "Gemma 2: Improving Open Language Models at a Practical Size",
        "section 2, logit soft-capping",
        authors="Gemma Team",
        year=2024,
        arxiv="2408.00118",
    ),
    claims=Claims(
        limits=(Limit("softcap:cap=1e5", equals="scaled_dot", tolerance=2e-6),),
    ),
    aliases=("logit_softcap",),
)
def softcap(*, cap: float = 50.0) -> SoftmaxScore:
    """Softmax of scaled dot products held within (-cap, cap), smoothly.

    Args:
      cap: c, above 0.

    Raises:
      Refused: cap is not positive.
    """
    if not cap > 0:
        raise Refused(f"softcap has cap={cap}: logits are held within (-cap, cap), give a number above 0.")
    return SoftmaxScore(scale=None, soft_cap=cap)
