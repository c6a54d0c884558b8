"""z_ij - r1 log(1 + r2 |i - j|), or z_ij - r1 |i - j|^r2: Chi et al. 2022, section 4.

The kernel is conditionally positive definite for r1, r2 > 0, and r2 <= 2 in the power. So the arrays hold the logs of
r1 and r2, and in the power r2 is 2 sigmoid of what its array holds; the authors' code clamps both instead.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import Sizes, constant
from attention_jax.kernels.mechanism import Given
from attention_jax.kernels.position import Position, PositionClaims, distances, register_position, with_bias
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.source import Source

FIRST, SECOND = "position_r1", "position_r2"


def _log(given: Given) -> Float[Array, "b N t s"]:
    r1, r2 = (jnp.exp(given.params[name])[None, :, None, None] for name in (FIRST, SECOND))
    return -r1 * jnp.log1p(r2 * _apart(given, r2))


def _power(given: Given) -> Float[Array, "b N t s"]:
    r1 = jnp.exp(given.params[FIRST])[None, :, None, None]
    r2 = 2 * jax.nn.sigmoid(given.params[SECOND])[None, :, None, None]
    apart = _apart(given, r2)
    # The derivative of 0^r by r is that of a constant, not log 0.
    return -r1 * jnp.where(apart > 0, jnp.maximum(apart, 1) ** r2, 0)


def _apart(given: Given, like: Array) -> Float[Array, "b 1 t s"]:
    return jnp.abs(distances(given))[:, None].astype(like.dtype)


def _nothing(sizes: Sizes) -> dict[str, Array]:
    return {FIRST: jnp.full(sizes.heads, -1e3)}


@register_position(
    source=Source(
        "KERPLE: Kernelized Relative Positional Embedding for Length Extrapolation",
        "section 4",
        authors="Chi, Ta-Chung and Fan, Ting-Han and Ramadge, Peter J. and Rudnicky, Alexander I.",
        year=2022,
        venue="NeurIPS 2022",
        arxiv="2205.09921",
    ),
    claims=PositionClaims(
        limits=tuple(Limit(f"kerple:kind={kind}", "scaled_dot", 1e-6, params=_nothing) for kind in ("log", "power"))
    ),
)
def kerple(*, kind: Literal["log", "power"] = "log") -> Position:
    """A penalty on each logit that grows with the log, or with a power, of the distance, learned for each head.

    Args:
      kind: "log" or "power".
    """
    bias = _log if kind == "log" else _power
    return Position(
        encode=lambda mechanism: with_bias(mechanism, bias, FIRST, SECOND),
        arrays={FIRST: constant(0.0, "N"), SECOND: constant(0.0, "N")},
    )
