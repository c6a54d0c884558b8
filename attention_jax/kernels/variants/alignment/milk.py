"""Monotonic infinite lookback attention: Arivazhagan et al. 2019, equations 3 to 5.

A monotonic head stops at a key (`monotonic`), and a softmax goes over all keys up to there. The delay that the paper
adds to its loss is a function of the weights and belongs to the task.
"""

from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.alignment import chunked
from attention_jax.kernels.variants.alignment.states import CLAIMS


@register(
    source=Source(
        "Monotonic Infinite Lookback Attention for Simultaneous Machine Translation",
        "equations 3 to 5",
        authors=(
            "Arivazhagan, Naveen and Cherry, Colin and Macherey, Wolfgang and Chiu, Chung-Cheng and Yavuz, Semih and "
            "Pang, Ruoming and Li, Wei and Raffel, Colin"
        ),
        year=2019,
        venue="ACL 2019",
        arxiv="1906.05218",
    ),
    claims=CLAIMS(convex=False, tried="milk:hidden=3,bias=-1.0"),
    aliases=("monotonic_infinite_lookback",),
)
def milk(*, hidden: int | None = None, bias: float = -4.0, hard: bool = False) -> Alignment:
    """Soft attention to all keys up to where a monotonic head stops.

    Args:
      hidden: the width of the networks' hidden layers; None is the width of a query head.
      bias: what r, in the head's energies, starts from.
      hard: the head stops at the first key whose energy is above 0, as in a test.

    Raises:
      Refused: hidden is smaller than 1.
    """
    return chunked.alignment(hidden=hidden, bias=bias, hard=hard, window=None, owner="milk")
