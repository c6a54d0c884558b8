"""Monotonic attention: Raffel et al. 2017, equations 9 to 12 and 16, its expectation; `hard` is its algorithm 1.

The head that has passed the last key attends to nothing: weights need not sum to 1. Noise is added where a key is given
for it, as the paper does in training (section 2.4).
"""

from functools import partial

from jaxtyping import Array, Bool, Float

from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.mechanism import Given
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.alignment import expected, network
from attention_jax.kernels.variants.alignment.states import CLAIMS


@register(
    source=Source(
        "Online and Linear-Time Attention by Enforcing Monotonic Alignments",
        "equations 9 to 12 and 16",
        authors="Raffel, Colin and Luong, Minh-Thang and Liu, Peter J. and Weiss, Ron J. and Eck, Douglas",
        year=2017,
        venue="ICML 2017",
        arxiv="1704.00784",
    ),
    claims=CLAIMS(convex=False, tried="monotonic:hidden=3,bias=-1.0"),
)
def monotonic(*, hidden: int | None = None, bias: float = -4.0, hard: bool = False) -> Alignment:
    """The expected place of a head that goes over the keys once, and stops at each with a learned probability.

    Args:
      hidden: the width of the network's hidden layer; None is the width of a query head.
      bias: what r, in the energies, starts from: far below 0 it looks far ahead.
      hard: it stops at the first key whose energy is above 0, as in a test.

    Raises:
      Refused: hidden is smaller than 1.
    """

    def step(
        where: expected.Where,
        query: Float[Array, "B N A"],
        key: Float[Array, "B S K A"],
        visible: Bool[Array, "B N S"],
        given: Given,
    ) -> Looked:
        stop = expected.stops(expected.energies(query, key, given)[:, :, None], given, hard=hard)[:, :, 0]
        where = expected.moved(where, stop, visible)
        return Looked(where.weights, where)

    return Alignment(
        arrays=expected.arrays(hidden, owner="monotonic", bias=bias),
        draws=True,
        prepare_query=network.prepare_query,
        prepare_key=network.prepare_key,
        start=expected.start,
        step=step,
        parallel=partial(expected.of_all_queries, hard=hard),
    )
