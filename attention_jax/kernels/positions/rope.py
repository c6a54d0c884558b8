"""<R_i q_i, R_j k_j>, pairs of channels turned by w_c times the position: Su et al. 2021, equations 14 to 16 and 34.

The paper pairs neighbouring channels ("interleaved"), most code pairs c with c + half; the one is a permutation of the
other. "ntk" changes the base so that the slowest pair is slowed by `factor` and the fastest not at all; "yarn" slows
pairs by parts (Peng et al. 2023, 2309.00071, equations 17 to 22, ramp from 1 to 32 turns) and stretches queries and
keys by 0.1 ln(factor) + 1 each. Angles are float32, or float64 for float64.
"""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import Given, statistics_dtype
from attention_jax.kernels.position import Position, PositionClaims, register_position, where_it_stands
from attention_jax.kernels.rotation import Pairs, angles_at, check_pairs, frequencies, rotated
from attention_jax.kernels.source import Source

Scaling = Literal["none", "ntk", "yarn"]
# The turns over the original length below which a pair is slowed wholly, and above which not at all.
SLOW, FAST = 1.0, 32.0


def scaled_frequencies(width: int, *, base: float, scaling: Scaling, factor: float, original: int) -> np.ndarray:
    """Returns w of each of width / 2 pairs, float64."""
    if scaling == "ntk" and width > 2:
        base *= factor ** (width / (width - 2))
    plain = frequencies(width, base)
    if scaling != "yarn":
        return plain

    def pair_of(turns: float) -> float:
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(pair_of(FAST)), 0), min(math.ceil(pair_of(SLOW)), width - 1)
    slowed = np.clip((np.arange(width // 2) - low) / max(high - low, 1e-3), 0, 1)
    return plain / factor * slowed + plain * (1 - slowed)


@register_position(
    source=Source(
        "RoFormer: Enhanced Transformer with Rotary Position Embedding",
        "equations 14 to 16 and 34",
        authors="Su, Jianlin and Lu, Yu and Pan, Shengfeng and Murtadha, Ahmed and Wen, Bo and Liu, Yunfeng",
        year=2021,
        venue="Neurocomputing 2024",
        arxiv="2104.09864",
    ),
    claims=PositionClaims(),
    aliases=("rotary", "roformer"),
)
def rope(
    *,
    base: float = 10000.0,
    pairs: Pairs = "half",
    fraction: float = 1.0,
    scaling: Scaling = "none",
    factor: float = 1.0,
    original: int = 2048,
    columns: int = 0,
) -> Position:
    """Queries and keys turned by their positions, so that their product goes by the distance.

    Args:
      base: of the frequencies base^(-2c/width).
      pairs: which channels go together: "half" or "interleaved".
      fraction: the share of the channels that are turned, from the first.
      scaling: for sequences longer than those of training: "none", "ntk" or "yarn".
      factor: how much longer, for ntk and yarn.
      original: the length of training, for yarn.
      columns: of a grid whose tokens stand row by row: half of the channels go by the row, half by the column; 0 for a
        sequence.

    Raises:
      Refused: an option is out of its range, or scaling is none and a factor is given.
    """
    _check(base, fraction, scaling, factor, original, columns)
    stretch = 0.1 * math.log(factor) + 1 if scaling == "yarn" else 1.0

    def turn(array: Float[Array, "B T N P"], positions: Int[Array, "b T"], given: Given) -> Float[Array, "B T N P"]:
        width = round(array.shape[-1] * fraction)
        check_pairs(f"rope with fraction={fraction:g}", width, of=4 if columns else 2)
        # A position of a grid is two, each with half of the channels.
        parts = (positions // columns, positions % columns) if columns else (positions,)
        each = scaled_frequencies(width // len(parts), base=base, scaling=scaling, factor=factor, original=original)
        wide = statistics_dtype(array.dtype)
        angles = [angles_at(part, each, wide) for part in parts]
        return rotated(array, jnp.concatenate(angles, -1)[:, :, None], pairs, stretch)

    return Position(encode=lambda mechanism: where_it_stands(mechanism, turn))


def _check(base: float, fraction: float, scaling: str, factor: float, original: int, columns: int) -> None:
    wrong = {
        f"base={base:g}: give more than 1": not base > 1,
        f"fraction={fraction:g}: give a share in (0, 1]": not 0 < fraction <= 1,
        f"factor={factor:g}: give at least 1": not factor >= 1,
        f"factor={factor:g} without scaling: give scaling=ntk or yarn": scaling == "none" and factor != 1,
        f"original={original}: give at least 1": original < 1,
        f"columns={columns}: give at least 1, or 0 for a sequence": columns < 0,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise Refused(f"rope has {what}.")
