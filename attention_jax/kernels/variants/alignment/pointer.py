"""softmax(v^T tanh(W q + U k)): Vinyals, Fortunato & Jaitly 2015 (pointer networks), equation 3.

The scores are those of `additive`. A pointer is read by its weights, which are a distribution over the keys: ask for
outputs=("weights",), or "logits" for a loss. What has been pointed at before is hidden by the caller's mask.
"""

from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.alignment.additive import by_network


@register(
    source=Source(
        "Pointer Networks",
        "equation 3",
        authors="Vinyals, Oriol and Fortunato, Meire and Jaitly, Navdeep",
        year=2015,
        venue="NeurIPS 2015",
        arxiv="1506.03134",
    ),
    claims=Claims(unequal_widths=True, tried="pointer:hidden=3"),
    aliases=("pointer_network",),
)
def pointer(*, hidden: int | None = None) -> SoftmaxScore:
    """A distribution over the keys by the additive score, for outputs=("weights",) or ("logits",).

    Args:
      hidden: the width of the hidden layer; None is the width of a query head.

    Raises:
      Refused: hidden is smaller than 1.
    """
    return by_network(hidden, owner="pointer")
