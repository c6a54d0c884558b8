"""The softmax over the keys at most D positions from the query's own: Luong et al. 2015, section 3.2, local-m.

Source and target are taken to run side by side, p_t = t: the window is that of `sliding_window:window=D+1`, the score
one of the paper's own. Where there are more keys than queries, `positions` says where each stands.
"""

from dataclasses import replace

from attention_jax.kernels.mask import Window
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, register
from attention_jax.kernels.variants.alignment.local import score_called
from attention_jax.kernels.variants.alignment.luong import SOURCE


@register(
    source=replace(SOURCE, equation="section 3.2, monotonic alignment (local-m)"),
    claims=Claims(
        time="linear",
        limits=(Limit("local_m:window=4096,score=dot", equals="dot", tolerance=2e-6),),
        tried="local_m:window=1",
    ),
    aliases=("luong_local_m",),
)
def local_m(*, window: int = 10, score: str = "general") -> SoftmaxScore:
    """Softmax of one of Luong's scores over a window about the query's own position.

    Args:
      window: the paper's D: how many keys on each side.
      score: dot or general.

    Raises:
      Refused: there is no such score, or the window is smaller than 1.
    """
    return replace(score_called(score, window=window, owner="local_m"), mask=Window(window + 1))
