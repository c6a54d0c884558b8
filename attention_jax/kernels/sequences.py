"""What poolings and pairs share: sequences, and which of their tokens are real."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.checks import DTYPES
from attention_jax.kernels.engines.poison import finite, nonfinite
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mask_algebra import Mask, describe
from attention_jax.kernels.mechanism import statistics_dtype

Real = Padding | Bool[Array, "B T"] | None


def real_tokens(name: str, hidden: Float[Array, "B T D"], mask: Real) -> Bool[Array, "B T"]:
    """Returns which tokens of a sequence are real.

    Args:
      name: what the sequence is called, for the messages.
      hidden: the sequence.
      mask: `Padding`, or bool [B, T]; None: all are.

    Raises:
      Refused: the sequence is no [B, T, D] of numbers that are computed with, or the mask is not of its tokens.
    """
    if hidden.ndim != 3 or 0 in hidden.shape:
        raise Refused(f"{name} has shape {hidden.shape}: give [batch, tokens, width], each at least 1.")
    if hidden.dtype not in DTYPES:
        raise Refused(f"{name} is {hidden.dtype}: cast it to one of {', '.join(map(str, DTYPES))}.")
    batch, tokens, _ = hidden.shape
    if mask is None:
        return jnp.ones((batch, tokens), bool)
    if isinstance(mask, Mask) and not isinstance(mask, Padding):
        raise Refused(
            f"the mask of {name} is {describe(mask)}: it says which tokens are real, by Padding or a bool array."
        )
    padding = mask if isinstance(mask, Padding) else Padding(mask)
    padding.check(batch=batch, heads=1, queries=tokens, keys=tokens)
    return jnp.broadcast_to(padding.valid(jnp.arange(tokens)), (batch, tokens))


def cleaned(
    hidden: Float[Array, "B T D"], visible: Bool[Array, "B T"]
) -> tuple[Float[Array, "B T D"], Bool[Array, " B"]]:
    """Returns a sequence in the dtype of statistics, 0 where a token is hidden or not finite; and which see such a one.

    0 times NaN is NaN: a hidden token would poison every sum, and every gradient, that it is multiplied out of.
    """
    clean = jnp.where(visible[..., None], finite(hidden), 0)
    return clean.astype(statistics_dtype(hidden.dtype)), (visible & nonfinite(hidden)).any(-1)


def settled(results: Any, empty: Bool[Array, " B"], poisoned: Bool[Array, " B"]) -> Any:
    """Returns arrays [B, ...] with 0 for the sequences where there is nothing, and NaN for those that see one."""

    def settle(array: Array) -> Array:
        by_sequence = (slice(None), *[None] * (array.ndim - 1))
        there = jnp.where(poisoned[by_sequence], jnp.nan, array)
        return jnp.where(empty[by_sequence], 0, there).astype(array.dtype)

    return jax.tree.map(settle, results)
