"""Scaled dot-product attention to the keys near the query: Beltagy et al. 2020 (Longformer), section 3.1.

The window counts keys on each side, the query's own among them: |i - j| < window. Under a causal mask that leaves
`window` keys (Mistral's count); a bidirectional query sees 2 window - 1.
"""

from attention_jax.kernels.mask import Window
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "Longformer: The Long-Document Transformer",
        "section 3.1",
        authors="Beltagy, Iz and Peters, Matthew E. and Cohan, Arman",
        year=2020,
        arxiv="2004.05150",
    ),
    claims=Claims(
        limits=(Limit("sliding_window:window=4096", equals="scaled_dot", tolerance=2e-6),),
        tried="sliding_window:window=3",
    ),
)
def sliding_window(*, window: int = 128) -> SoftmaxScore:
    """Scaled dot-product attention to the keys fewer than `window` positions away.

    Args:
      window: at least 1, the query's own key.

    Raises:
      Refused: the window is smaller than 1.
    """
    return SoftmaxScore(scale=None, mask=Window(window))
