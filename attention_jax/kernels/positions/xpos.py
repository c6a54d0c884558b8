"""Re sum_c q_c conj(k_c) e^(i w_c (i - j)) zeta_c^((i - j) / scale_base): Sun et al. 2022, section 3.2 and algorithm 1.

RoPE, and in it each pair of channels decays with the distance, the slow pairs least: zeta_c = (2c / H + gamma) /
(1 + gamma). Distances count by `scale_base`, which the paper leaves out and the authors' code has. For causal masks: to
keys behind the query it grows, here to e^43 at most, as it decays to those before it. The paper multiplies queries by
zeta^i and keys by zeta^-j, which overflow at large positions; here both powers count from the middle of each block, and
in a block that is longer than some 69 times `scale_base` the keys fade for each query anew.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.budget import at_a_time
from attention_jax.kernels.mechanism import Given, Score, statistics_dtype
from attention_jax.kernels.position import (
    Position,
    PositionClaims,
    check_dot_products,
    register_position,
    scaled,
    where_it_stands,
)
from attention_jax.kernels.rotation import Pairs, angles_at, check_pairs, frequencies, rotated
from attention_jax.kernels.source import Source

# The largest exponent of a power: that of a product of two is still a number in float32.
LARGEST = 43.0


@register_position(
    source=Source(
        "A Length-Extrapolatable Transformer",
        "section 3.2 and algorithm 1",
        authors=(
            "Sun, Yutao and Dong, Li and Patra, Barun and Ma, Shuming and Huang, Shaohan and Benhaim, Alon and "
            "Chaudhary, Vishrav and Song, Xia and Wei, Furu"
        ),
        year=2022,
        venue="ACL 2023",
        arxiv="2212.10554",
    ),
    claims=PositionClaims(tried="xpos:scale_base=16.0"),
)
def xpos(*, base: float = 10000.0, pairs: Pairs = "half", gamma: float = 0.4, scale_base: float = 512.0) -> Position:
    """Queries and keys turned by their positions, each pair of channels fading with the distance (xPos).

    Args:
      base: of the frequencies base^(-2c/width).
      pairs: which channels go together: "half" or "interleaved".
      gamma: how little the fastest pair keeps: gamma / (1 + gamma) of it after a distance of `scale_base`.
      scale_base: the distance by which decays count.

    Raises:
      Refused: an option is out of its range.
    """
    for name, value, least in (("base", base, 1), ("gamma", gamma, 0), ("scale_base", scale_base, 0)):
        if not value > least:
            raise Refused(f"xpos has {name}={value:g}: give more than {least}.")

    def turned(array: Float[Array, "B T N P"], positions: Int[Array, "b T"], given: Given) -> Float[Array, "B T N P"]:
        width, wide = array.shape[-1], statistics_dtype(array.dtype)
        check_pairs("xpos", width)
        angles = angles_at(positions, frequencies(width, base), wide)
        return rotated(array, angles[:, :, None], pairs)

    def rates(width: int) -> np.ndarray:
        of_pairs = np.log((2 * np.arange(width // 2) / width + gamma) / (1 + gamma)) / scale_base
        return np.tile(of_pairs, 2) if pairs == "half" else np.repeat(of_pairs, 2)

    def faded(array: Float[Array, "b t n P"], distance: Int[Array, "b t"]) -> Float[Array, "b t n P"]:
        wide = statistics_dtype(array.dtype)
        exponents = distance[..., None].astype(wide) * jnp.asarray(rates(array.shape[-1]), wide)[None, None]
        powers = jnp.exp(jnp.minimum(exponents, LARGEST))
        return (array.astype(wide) * powers[:, :, None]).astype(array.dtype)

    def encode(mechanism: Score) -> Score:
        check_dot_products("xpos", mechanism)

        def pairwise(query: Array, key: Array, given: Given) -> Array:
            place = given.place
            assert place is not None
            middle = place.query.min(-1, keepdims=True) // 2 + place.key.max(-1, keepdims=True) // 2
            of_query, of_key = place.query - middle, middle - place.key

            def from_the_middle(query: Array, key: Array) -> Array:
                return scaled(mechanism, faded(query, of_query), faded(key, of_key), given)

            def for_each_query(query: Array, key: Array) -> Array:
                @jax.checkpoint
                def row(one: tuple[Float[Array, "b n P"], Int[Array, " b"]]) -> Float[Array, "b n s"]:
                    return scaled(mechanism, one[0][:, None], faded(key, one[1][:, None] - place.key), given)[:, :, 0]

                each = (query.swapaxes(0, 1), place.query.swapaxes(0, 1))
                logits = jax.lax.map(row, each, batch_size=at_a_time(query.shape[1], key.size))
                return logits.transpose(1, 2, 0, 3)

            longest = jnp.maximum(jnp.abs(of_query).max(), jnp.abs(of_key).max())
            fastest = max(np.abs(rates(query.shape[-1])).max(), LARGEST / (2**31 - 1))
            return jax.lax.cond(longest < int(LARGEST / fastest), from_the_middle, for_each_query, query, key)

        return replace(where_it_stands(mechanism, turned), pairwise=pairwise, scale=1.0)

    return Position(encode=encode)
