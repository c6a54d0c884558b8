"""Monotonic chunkwise attention: Chiu & Raffel 2018, equations 16 to 20.

A monotonic head stops at a key (`monotonic`), and a softmax goes over the `window` keys that end there. Sums of windows
are formed key by key, so that no cumulative sum loses the digits of a small weight behind a large one.
"""

from attention_jax.base.errors import Refused
from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.alignment import chunked
from attention_jax.kernels.variants.alignment.states import CLAIMS


@register(
    source=Source(
        "Monotonic Chunkwise Attention",
        "equations 16 to 20",
        authors="Chiu, Chung-Cheng and Raffel, Colin",
        year=2018,
        venue="ICLR 2018",
        arxiv="1712.05382",
    ),
    claims=CLAIMS(convex=False, tried="mocha:hidden=3,window=2,bias=-1.0"),
    aliases=("monotonic_chunkwise",),
)
def mocha(*, hidden: int | None = None, window: int = 8, bias: float = -4.0, hard: bool = False) -> Alignment:
    """Soft attention to the few keys that end where a monotonic head stops.

    Args:
      hidden: the width of the networks' hidden layers; None is the width of a query head.
      window: how many keys, the one where the head stops among them.
      bias: what r, in the head's energies, starts from.
      hard: the head stops at the first key whose energy is above 0, as in a test.

    Raises:
      Refused: hidden or window is smaller than 1.
    """
    if window < 1:
        raise Refused(f"mocha has window={window}: at least the key where the head stops is in it; 1 is monotonic.")
    return chunked.alignment(hidden=hidden, bias=bias, hard=hard, window=window, owner="mocha")
