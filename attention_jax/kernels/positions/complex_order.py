"""x e^(i w_c p) for each complex channel x = r e^(i theta) of a token: Wang et al. 2020, section 2.

The real channels c and c + D/2 of an embedding are one complex number, whose size is the amplitude r and whose angle is
the first phase theta of the word; the position p turns it by w_c p. In the logits it turns queries and keys, and what
remains is the Hermitian product Re <q_i, k_j> of a distance alone, as in RoPE but with rates that are learned. The
paper's w may differ from word to word too: that is a second embedding, which belongs to the model; here words share it
(the paper's word-sharing scheme). Rates start from the sinusoid's, which the paper names as its special case.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from attention_jax.kernels.arrays import Declared, Params, SequenceSizes, Sizes
from attention_jax.kernels.mechanism import Score, statistics_dtype
from attention_jax.kernels.position import Position, PositionClaims, counted, register_position, where_it_stands
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.rotation import angles_at, check_pairs, frequencies, rotated
from attention_jax.kernels.source import Source

RATES = "position_rates"
BASE = 10000.0


def half_width(sizes: Sizes | SequenceSizes) -> int:
    """Returns how many complex channels a head, or a token, has."""
    width = sizes.width if isinstance(sizes, SequenceSizes) else sizes.query
    check_pairs("complex_order", width)
    return width // 2


def _rates(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Any) -> Float[Array, " half"]:
    return jnp.asarray(frequencies(2 * shape[0], BASE), jnp.float32)


def _turned(array: Float[Array, "B T N P"], positions: Int[Array, "b T"], params: Params) -> Float[Array, "B T N P"]:
    angles = angles_at(positions, params[RATES], statistics_dtype(array.dtype))
    return rotated(array, angles[:, :, None])


def _encode(mechanism: Score) -> Score:
    return where_it_stands(mechanism, lambda array, positions, given: _turned(array, positions, given.params))


def _embed(hidden: Float[Array, "B T D"], positions: Int[Array, "b T"] | None, params: Params) -> Float[Array, "B T D"]:
    return _turned(hidden[:, :, None], counted(positions, hidden.shape[1]), params)[:, :, 0]


@register_position(
    source=Source(
        "Encoding word order in complex embeddings",
        "section 2",
        authors=(
            "Wang, Benyou and Zhao, Donghao and Lioma, Christina and Li, Qiuchi and Zhang, Peng and "
            "Simonsen, Jakob Grue"
        ),
        year=2020,
        venue="ICLR 2020",
        arxiv="1912.12333",
    ),
    claims=PositionClaims(
        limits=(Limit("complex_order", "scaled_dot", 1e-6, params=lambda sizes: {RATES: jnp.zeros(sizes.query // 2)}),),
    ),
)
def complex_order() -> Position:
    """Pairs of channels as complex numbers that the position turns, each at a learned rate: in tokens or in logits."""
    return Position(encode=_encode, embed=_embed, arrays={RATES: Declared((half_width,), _rates)})
