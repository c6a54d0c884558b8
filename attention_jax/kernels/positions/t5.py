"""z_ij + b_n[bucket(j - i)]: Raffel et al. 2019, section 2.1, with the buckets of the authors' code.

Half of the buckets are one distance each, the others grow with its logarithm up to `furthest`, beyond which all is one.
A scale of 1 in the logits is a choice of T5's, not of this: give variant scaled_dot:scale=1.0.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.mechanism import Given
from attention_jax.kernels.position import Position, PositionClaims, distances, register_position, with_bias
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.source import Source

TABLE = "position_table"


def bucket(distance: Int[Array, "*a"], *, buckets: int, furthest: int, bidirectional: bool) -> Int[Array, "*a"]:
    """Returns the bucket of i - j, in [0, buckets)."""
    first: Array | int = 0
    if bidirectional:
        buckets //= 2
        first, distance = jnp.where(distance < 0, buckets, 0), jnp.abs(distance)
    distance = jnp.maximum(distance, 0)
    exact = buckets // 2
    # The first distance of each wide bucket: whole numbers compared, where a rounded logarithm might miss by one.
    grows = (furthest / exact) ** (1 / (buckets - exact))
    starts = [math.ceil(exact * grows**number - 1e-9) for number in range(1, buckets - exact)]
    wide = exact + sum(((distance >= start).astype(jnp.int32) for start in starts), jnp.zeros_like(distance))
    return first + jnp.where(distance < exact, distance, wide)


@register_position(
    source=Source(
        "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
        "section 2.1",
        authors=(
            "Raffel, Colin and Shazeer, Noam and Roberts, Adam and Lee, Katherine and Narang, Sharan and "
            "Matena, Michael and Zhou, Yanqi and Li, Wei and Liu, Peter J."
        ),
        year=2019,
        venue="JMLR 2020",
        arxiv="1910.10683",
    ),
    claims=PositionClaims(
        limits=(Limit("t5:buckets=4", "scaled_dot", 1e-6, params=lambda sizes: {TABLE: jnp.zeros((sizes.heads, 4))}),),
        tried="t5:buckets=8,furthest=6",
    ),
    aliases=("relative_bias", "t5_bias"),
)
def t5(*, buckets: int = 32, furthest: int = 128, bidirectional: bool = True) -> Position:
    """A learned number for each head and each bucket of distances, added to the logit.

    Args:
      buckets: how many.
      furthest: the distance from which on all is one bucket.
      bidirectional: whether half of the buckets are for the keys behind the query; False, for a causal mask, has all of
        them for those before it.

    Raises:
      Refused: there are too few buckets, or `furthest` is within those of one distance.
    """
    sides = 2 if bidirectional else 1
    if buckets < 2 * sides or buckets % sides:
        raise Refused(f"t5 has buckets={buckets}: give {'an even number from 4' if bidirectional else 'at least 2'}.")
    exact = buckets // sides // 2
    if furthest <= exact:
        raise Refused(f"t5 has furthest={furthest}: {exact} distances have a bucket each, so give more than {exact}.")

    def bias(given: Given) -> Float[Array, "b N t s"]:
        chosen = bucket(distances(given), buckets=buckets, furthest=furthest, bidirectional=bidirectional)
        return jnp.moveaxis(given.params[TABLE][:, chosen], 0, 1)

    return Position(
        encode=lambda mechanism: with_bias(mechanism, bias, TABLE), arrays={TABLE: normal("N", buckets, fan_in=(-1,))}
    )
