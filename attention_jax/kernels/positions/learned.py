"""x_p + e_p, a learned vector for each position: Gehring et al. 2017, section 3.1.

There is none beyond the table: a longer sequence is refused, and a position that only the running program knows gives
NaN where the table has no vector for it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, normal
from attention_jax.kernels.mechanism import to_statistics
from attention_jax.kernels.position import Position, PositionClaims, register_position
from attention_jax.kernels.source import Source

TABLE = "position_table"


@register_position(
    source=Source(
        "Convolutional Sequence to Sequence Learning",
        "section 3.1",
        authors="Gehring, Jonas and Auli, Michael and Grangier, David and Yarats, Denis and Dauphin, Yann N.",
        year=2017,
        venue="ICML 2017",
        arxiv="1705.03122",
    ),
    claims=PositionClaims(relative=False),
)
def learned(*, length: int = 512) -> Position:
    """A learned vector for each position up to a length, added to the token embeddings.

    Args:
      length: how many positions have one.

    Raises:
      Refused: length is smaller than 1.
    """
    if length < 1:
        raise Refused(f"learned has length={length}: give at least 1.")

    def embed(
        hidden: Float[Array, "B T D"], positions: Int[Array, "b T"] | None, params: Params
    ) -> Float[Array, "B T D"]:
        _check(hidden.shape[1], positions, length)
        if positions is None:
            vectors = params[TABLE][: hidden.shape[1]]
        else:
            # A negative index would count from the end.
            places = jnp.where(positions < 0, length, positions)
            vectors = params[TABLE].at[places].get(mode="fill", fill_value=jnp.nan)
        wide = to_statistics(hidden)
        return wide + vectors.astype(wide.dtype)

    return Position(embed=embed, arrays={TABLE: normal(length, "D", fan_in=(-1,))})


def _check(tokens: int, positions: Int[Array, "b T"] | None, length: int) -> None:
    if tokens > length:
        raise Refused(f"learned has positions for {length} tokens, not {tokens}: give learned:length={tokens}.")
    if positions is None or isinstance(positions, jax.core.Tracer):
        return
    lowest, highest = int(positions.min()), int(positions.max())
    if lowest < 0:
        raise Refused(f"learned has no position {lowest}: give positions from 0.")
    if highest >= length:
        raise Refused(f"learned has positions 0 to {length - 1}, not {highest}: give learned:length={highest + 1}.")
