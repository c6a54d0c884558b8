"""z_ij + f_n(psi(i - j) / psi(max(L, i))), psi(x) = log(c x + 1): Li et al. 2023, section 4.1.

f is one hidden layer of rectified units, the same for all heads, with an output for each; c and L are learned. The
denominator goes by the query's place, so that this is no function of the distance alone; it is at least psi(1), where
the authors' code adds 1e-6. The paper is for causal masks: to a key behind the query the distance is taken without its
sign, as in the authors' code.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, constant, normal
from attention_jax.kernels.mechanism import Given, Score
from attention_jax.kernels.position import Position, PositionClaims, distances, register_position, with_bias
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.source import Source

RATE, THRESHOLD, HIDDEN, HIDDEN_BIAS = "position_rate", "position_threshold", "position_hidden", "position_hidden_bias"
OUT, OUT_BIAS = "position_out", "position_out_bias"


def _nothing(sizes: Sizes) -> dict[str, Array]:
    return {OUT: jnp.zeros((sizes.heads, 32)), OUT_BIAS: jnp.zeros(sizes.heads)}


@register_position(
    source=Source(
        "Functional Interpolation for Relative Positions Improves Long Context Transformers",
        "section 4.1",
        authors=(
            "Li, Shanda and You, Chong and Guruganesh, Guru and Ainslie, Joshua and Ontanon, Santiago and "
            "Zaheer, Manzil and Sanghai, Sumit and Yang, Yiming and Kumar, Sanjiv and Bhojanapalli, Srinadh"
        ),
        year=2023,
        venue="ICLR 2024",
        arxiv="2310.04418",
    ),
    claims=PositionClaims(
        relative=False, limits=(Limit("fire", "scaled_dot", 1e-6, params=_nothing),), tried="fire:threshold=4.0,width=8"
    ),
)
def fire(*, threshold: float = 512.0, width: int = 32) -> Position:
    """A learned function of the distance over the query's place, added to the logit of each head (FIRE).

    Args:
      threshold: where L starts, up to which a query's place does not matter; what is learned is its share of it.
      width: hidden units.

    Raises:
      Refused: an option is out of its range.
    """
    if not threshold > 0:
        raise Refused(f"fire has threshold={threshold:g}: give more than 0.")
    if width < 1:
        raise Refused(f"fire has width={width}: give at least 1.")

    def bias(given: Given) -> Float[Array, "b N t s"]:
        own, place = given.params, given.place
        assert place is not None
        rate = jnp.abs(own[RATE])
        furthest = jnp.maximum(jnp.abs(own[THRESHOLD]) * threshold, jnp.maximum(place.query, 1).astype(rate.dtype))
        apart = jnp.abs(distances(given)).astype(rate.dtype)
        share = jnp.log1p(rate * apart) / jnp.log1p(rate * furthest)[..., None]

        # One hidden unit after the other, computed again in the backward pass: all at once are as many tiles.
        @partial(jax.checkpoint, prevent_cse=False)
        def unit(total: Array, one: tuple[Array, Array, Array]) -> tuple[Array, None]:
            weight, shift, out = one
            return total + out[None, :, None, None] * jax.nn.relu(share * weight + shift)[:, None], None

        start = jnp.zeros((share.shape[0], own[OUT].shape[0], *share.shape[1:]), share.dtype)
        total, _ = jax.lax.scan(unit, start, (own[HIDDEN], own[HIDDEN_BIAS], own[OUT].T))
        return total + own[OUT_BIAS][None, :, None, None]

    def encode(mechanism: Score) -> Score:
        return with_bias(mechanism, bias, OUT, OUT_BIAS, shared=(RATE, THRESHOLD, HIDDEN, HIDDEN_BIAS))

    arrays = {
        RATE: constant(0.1),
        THRESHOLD: constant(1.0),
        HIDDEN: normal(width, fan_in=()),
        HIDDEN_BIAS: normal(width, fan_in=()),
        OUT: normal("N", width, fan_in=(-1,)),
        OUT_BIAS: constant(0.0, "N"),
    }
    return Position(encode=encode, arrays=arrays)
