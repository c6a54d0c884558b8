"""Scaled dot-product attention to the keys near the query: Beltagy et al. 2020 (Longformer), section 3.1.

The window counts keys on each side, the query's own among them: |i - j| < window. Under a causal mask that leaves
`window` keys (Mistral's count); a bidirectional query sees 2 window - 1.

`sinks` keeps the first positions visible to every query: under a causal mask it is StreamingLLM (Xiao et al. 2023,
section 3.2, arXiv 2309.17453, whose cache has 4 of them), both ways these are Longformer's global positions, which see
every key too. StreamingLLM counts positions within its cache: what `positions` are is the caller's.
"""

from attention_jax.base.errors import Refused
from attention_jax.kernels.mask import Global, Window
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
        time="linear",
        limits=(
            Limit("sliding_window:window=4096", equals="scaled_dot", tolerance=2e-6),
            Limit("sliding_window:window=1,sinks=4096", equals="scaled_dot", tolerance=2e-6),
        ),
        tried="sliding_window:window=2,sinks=1",
    ),
    aliases=("local", "streaming_llm"),
)
def sliding_window(*, window: int = 128, sinks: int = 0) -> SoftmaxScore:
    """Scaled dot-product attention to the keys fewer than `window` positions away.

    Args:
      window: at least 1, the query's own key.
      sinks: how many of the first positions every query sees besides; 0 for none.

    Raises:
      Refused: the window is smaller than 1, or sinks than 0.
    """
    if sinks < 0:
        raise Refused(f"sliding_window:sinks={sinks} counts the first positions that stay visible: give 0 or more.")
    return SoftmaxScore(scale=None, mask=Window(window) | Global(sinks) if sinks else Window(window))
