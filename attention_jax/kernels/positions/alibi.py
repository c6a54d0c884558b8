"""z_ij - m_n |i - j|: Press, Smith & Lewis 2021, section 3.

The slopes are the paper's for a power of two of heads; for any other number those of the power below, and between them
every other one of the power above, as the authors' code has it. Before a query and behind it are alike, so that under
a causal mask it is the paper's, and without one the symmetric form of the authors' code.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.kernels.arrays import Declared, Sizes
from attention_jax.kernels.mechanism import Given, Score
from attention_jax.kernels.position import Position, PositionClaims, distances, register_position, with_bias
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.source import Source

SLOPES = "position_slopes"


def slopes(heads: int) -> list[float]:
    """Returns m of each head."""
    below = 2 ** math.floor(math.log2(heads))
    exact = [2 ** (-8 * (n + 1) / below) for n in range(below)]
    between = [2 ** (-8 * (2 * n + 1) / (2 * below)) for n in range(heads - below)]
    return exact + between


def _slopes(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Float[Array, " N"]:
    return jnp.array(slopes(sizes.heads), jnp.float32)


def _bias(given: Given) -> Float[Array, "b N t s"]:
    slope = given.params[SLOPES][None, :, None, None]
    return -slope * jnp.abs(distances(given))[:, None].astype(slope.dtype)


def _encode(mechanism: Score) -> Score:
    return with_bias(mechanism, _bias, SLOPES)


@register_position(
    source=Source(
        "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
        "section 3",
        authors="Press, Ofir and Smith, Noah A. and Lewis, Mike",
        year=2021,
        venue="ICLR 2022",
        arxiv="2108.12409",
    ),
    claims=PositionClaims(
        limits=(Limit("alibi", "scaled_dot", 1e-6, params=lambda sizes: {SLOPES: jnp.zeros(sizes.heads)}),)
    ),
    aliases=("linear_biases",),
)
def alibi() -> Position:
    """A penalty on each logit in proportion to the distance, with a fixed slope for each head."""
    return Position(encode=_encode, arrays={SLOPES: Declared(("N",), _slopes, trained=False)})
