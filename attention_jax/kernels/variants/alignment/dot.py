"""softmax(q^T k) v: Luong et al. 2015, equation 8, "dot": no scale. `scaled_dot` is this divided by sqrt(H)."""

from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, register
from attention_jax.kernels.variants.alignment.luong import SOURCE


@register(
    source=SOURCE,
    claims=Claims(limits=(Limit("dot", equals="scaled_dot:scale=1.0", tolerance=2e-6),)),
    aliases=("luong_dot",),
)
def dot() -> SoftmaxScore:
    """Softmax of the dot products of query and key as they are."""
    return SoftmaxScore()
