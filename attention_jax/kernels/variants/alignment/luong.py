"""The paper that `dot`, `general`, `concat` and `location` are from."""

from attention_jax.kernels.registry import Source

SOURCE = Source(
    "Effective Approaches to Attention-based Neural Machine Translation",
    "equation 8",
    authors="Luong, Minh-Thang and Pham, Hieu and Manning, Christopher D.",
    year=2015,
    venue="EMNLP 2015",
    arxiv="1508.04025",
)
