"""softmax(q k^T / sqrt(H)) v: Vaswani et al. 2017, equation 1.

With fewer key heads than query heads, those of a group follow each other, as in the paper on groups (Ainslie et al.
2023) and in torch; x-transformers gives query head n the key head n mod K.
"""

from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "Attention Is All You Need",
        "equation 1",
        authors=(
            "Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, Jakob and Jones, Llion and "
            "Gomez, Aidan N. and Kaiser, Łukasz and Polosukhin, Illia"
        ),
        year=2017,
        venue="NeurIPS 2017",
        arxiv="1706.03762",
    ),
    claims=Claims(limits=(Limit("scaled_dot:scale=0.0", equals="uniform", tolerance=2e-6),)),
    aliases=("sdpa", "softmax_attention"),
)
def scaled_dot(*, scale: float | None = None) -> SoftmaxScore:
    """Softmax of the dot products of query and key, divided by the square root of their width.

    With fewer key heads than query heads it is grouped-query attention (Ainslie et al. 2023), with one multi-query.

    Args:
      scale: multiplies the dot products; None is 1 / sqrt(H). T5 uses 1.
    """
    return SoftmaxScore(scale=scale)
