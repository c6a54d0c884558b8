"""A position encoding: z_ij - m_n log(1 + |i - j|), m learned for each head."""

import jax.numpy as jnp

from attention_jax.kernels import (
    Limit,
    Position,
    PositionClaims,
    Source,
    constant,
    distances,
    register_position,
    with_bias,
)

SLOPE, ITSELF = "position_slope", f"{__file__}:log_distance"


def bias(given):
    """[b or 1, N, t, s], of the places of any block of queries and keys."""
    slope = given.params[SLOPE][None, :, None, None]
    return -slope * jnp.log1p(jnp.abs(distances(given)).astype(slope.dtype))[:, None]


@register_position(
    source=Source("this file", "its first line"),
    # With m = 0 it is nothing, which the contract then holds it to.
    claims=PositionClaims(
        limits=(Limit(ITSELF, "scaled_dot", 1e-6, params=lambda sizes: {SLOPE: jnp.zeros(sizes.heads)}),)
    ),
)
def log_distance(*, start: float = 1.0) -> Position:
    """A penalty on each logit that grows as the logarithm of the distance.

    Args:
      start: m at the start.
    """
    return Position(encode=lambda score: with_bias(score, bias, SLOPE), arrays={SLOPE: constant(start, "N")})
