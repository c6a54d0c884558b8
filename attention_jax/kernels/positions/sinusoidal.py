"""x_p + r_p, r_p[2c] = sin(p / base^(2c/D)), r_p[2c+1] = cos(p / base^(2c/D)): Vaswani et al. 2017, section 3.5.

Sines and cosines take turns, as in the paper; the authors' code has all sines before all cosines, a permutation
of the channels. Angles are float32, or float64 for float64.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params
from attention_jax.kernels.mechanism import to_statistics
from attention_jax.kernels.position import Position, PositionClaims, counted, register_position
from attention_jax.kernels.rotation import angles_at, check_pairs, frequencies
from attention_jax.kernels.source import Source


@register_position(
    source=Source(
        "Attention Is All You Need",
        "section 3.5",
        authors=(
            "Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, Jakob and Jones, Llion and "
            "Gomez, Aidan N. and Kaiser, Łukasz and Polosukhin, Illia"
        ),
        year=2017,
        venue="NeurIPS 2017",
        arxiv="1706.03762",
    ),
    claims=PositionClaims(relative=False),
    aliases=("sincos",),
)
def sinusoidal(*, base: float = 10000.0) -> Position:
    """Sines and cosines of the position, added to the token embeddings.

    Args:
      base: of the frequencies base^(-2c/D).

    Raises:
      Refused: base is not above 1.
    """
    if not base > 1:
        raise Refused(f"sinusoidal has base={base:g}: give more than 1.")

    def embed(
        hidden: Float[Array, "B T D"], positions: Int[Array, "b T"] | None, params: Params
    ) -> Float[Array, "B T D"]:
        wide, width = to_statistics(hidden), hidden.shape[-1]
        positions = counted(positions, hidden.shape[1])
        check_pairs("sinusoidal", width)
        angles = angles_at(positions, frequencies(width, base), wide.dtype)
        return wide + jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*positions.shape, width)

    return Position(embed=embed)
