"""Pairs of channels turned by an angle: what rope, xpos, transformer_xl and complex_order share."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import statistics_dtype

Pairs = Literal["half", "interleaved"]


def frequencies(width: int, base: float) -> Float[np.ndarray, " half"]:
    """Returns w_c = base^(-2c / width) of each of width / 2 pairs, float64: Vaswani et al. 2017, section 3.5."""
    return base ** (-2.0 * np.arange(width // 2) / width)


def angles_at(
    positions: Int[Array, "b T"], rates: Float[Array | np.ndarray, " half"], dtype: jnp.dtype
) -> Float[Array, "b T half"]:
    """Returns the angle of each pair at each position, in a dtype of statistics."""
    return positions[..., None].astype(dtype) * jnp.asarray(rates, dtype)[None, None]


def rotated(
    array: Float[Array, "B T N P"], angles: Float[Array, "b T n half"], pairs: Pairs = "half", stretch: float = 1.0
) -> Float[Array, "B T N P"]:
    """Returns the array with its first 2 * half channels turned, pair by pair, in its own dtype.

    Args:
      array: the channels.
      angles: of each pair.
      pairs: "half": channel c goes with c + half; "interleaved": 2c with 2c + 1.
      stretch: multiplies what is turned.
    """
    wide, turned = statistics_dtype(array.dtype), 2 * angles.shape[-1]
    here, rest = array[..., :turned].astype(wide), array[..., turned:]
    cos, sin = jnp.cos(angles) * stretch, jnp.sin(angles) * stretch
    first, second = (here[..., 0::2], here[..., 1::2]) if pairs == "interleaved" else jnp.split(here, 2, axis=-1)
    both = (first * cos - second * sin, first * sin + second * cos)
    result = jnp.stack(both, axis=-1).reshape(here.shape) if pairs == "interleaved" else jnp.concatenate(both, axis=-1)
    return jnp.concatenate([result.astype(array.dtype), rest], axis=-1)


def check_pairs(owner: str, width: int, *, of: int = 2) -> None:
    """Checks that channels divide into pairs.

    Raises:
      Refused: they do not.
    """
    if width < of or width % of:
        raise Refused(f"{owner} turns pairs of channels and was given {width}: make the width a multiple of {of}.")
