"""Short causal convolutions over the tokens, which know documents, padding and the tokens decoded before.

Depthwise, as in Mamba (Gu & Dao 2023, arXiv 2312.00752, section 3.4): y_t = sum_j w_j (.) x_{t-j}, j = 0 ... 3, over
the tokens that the mask lets t see. There is no centred form: no paper that a recipe is of has one.
"""

import functools
import math
import operator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Causal, Mask, Padding, Segments, Sizes, Variant, Window
from attention_jax.kernels.arrays import shape_of
from attention_jax.kernels.mask_algebra import describe, terms
from attention_jax.kernels.recipe import INPUTS, TAPS

# How many tokens it looks back, and what a decode state holds of each array.
BEFORE = TAPS - 1


class Kept(NamedTuple):
    """The decode state of an attention with convolutions. A pytree, each leaf with the batch first.

    Attributes:
      kernel: what the variant keeps of the tokens so far.
      inputs: the last tokens that each convolution saw, by the name of what it goes over, each [B, 3, ...].
    """

    kernel: Any
    inputs: dict[str, Array]


@dataclass
class Past:
    """What the convolutions of one call see.

    Attributes:
      reach: bool [b, TAPS, T], whether each token sees the one that each tap is of, its own last; None: it sees all.
      before: the last tokens before these, by name, where they are decoded in steps; None: there are none before.
      lengths: int [B], in steps, how many of the tokens are real.
      after: the last tokens after the call, which it fills.
    """

    reach: Bool[Array, "b W T"] | None = None
    before: dict[str, Array] | None = None
    lengths: Int[Array, " B"] | None = None
    after: dict[str, Array] = field(default_factory=dict)

    def around(self, name: str, inputs: Float[Array, "B T *C"]) -> Float[Array, "B S *C"]:
        """Returns the tokens with the 3 before them, and notes the last 3 that are real for those to come."""
        nothing = jnp.zeros((inputs.shape[0], BEFORE, *inputs.shape[2:]), inputs.dtype)
        every = jnp.concatenate([(self.before or {}).get(name, nothing), inputs], axis=1)
        if self.lengths is not None:
            last = self.lengths[:, None] + jnp.arange(BEFORE)
            self.after[name] = jnp.take_along_axis(every, last.reshape(*last.shape, *[1] * (every.ndim - 2)), axis=1)
        return every


class ShortConvolution(nn.Module):
    """Convolves each channel of each token with the three before it.

    Its taps [4, ...] are drawn uniformly from [-1/2, 1/2], as by the authors of Mamba. They are no "kernel": a tap is a
    gain of one channel, as the scale of a norm is, and so it does not decay, and no optimizer of matrices takes it.

    Attributes:
      residual: whether the inputs are added.
    """

    residual: bool = False

    @nn.compact
    def __call__(
        self, every: Float[Array, "B S *C"], reach: Bool[Array, "b W T"] | None = None
    ) -> Float[Array, "B T *C"]:
        """Returns [B, T, *C].

        Args:
          every: [B, T + 3, *C], the tokens with the three before them.
          reach: bool [B or 1, 4, T], whether each token sees the one that each tap is of; None: it sees all.
        """
        taps = self.param("taps", _uniform, (TAPS, *every.shape[2:]))
        count = every.shape[1] - BEFORE
        out = every[:, BEFORE:] if self.residual else jnp.zeros_like(every[:, BEFORE:])
        for place, tap in enumerate(taps.astype(every.dtype)):
            seen = every[:, place : place + count]
            if reach is not None:
                visible = reach[:, place].reshape(*reach[:, place].shape, *[1] * (every.ndim - 2))
                seen = jnp.where(visible, seen, 0)
            out = out + tap * seen
        return out


def _uniform(rng: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(rng, shape, jnp.float32, -1, 1) * TAPS**-0.5


def reach_of(mask: Mask | None, tokens: int, *, variant: Variant, in_steps: bool) -> Bool[Array, "b W T"] | None:
    """Returns which of the tokens before it each token may be convolved with, as a mask says; None: with all.

    Args:
      mask: causal, of rules joined by &.
      tokens: T.
      variant: whose recipe it is, for the messages.
      in_steps: whether the tokens continue others, of which no ids are known.

    Raises:
      Refused: the mask is not causal, or of rules that do not tell which tokens belong together.
    """
    if mask is None or not mask.causal:
        way_out = f"{variant.kernel} with recipe=none" if variant.claims.bidirectional else "variant scaled_dot"
        raise Refused(
            f"{variant.spec} convolves from the past to the future and needs a causal mask, but was given "
            f"{describe(mask)}: give mask=Causal(), alone or with &, or use {way_out}."
        )
    known = (Causal, Window) if in_steps else (Causal, Window, Padding, Segments)
    rules = terms(mask)
    unread = [rule for rule in rules if not isinstance(rule, known)]
    if unread:
        where, words = "in steps" if in_steps else "here", ", ".join(one.__name__ for one in known)
        raise Refused(
            f"{variant.spec} convolves {where} under masks of {words} joined by &, not {describe(unread[0])}: use "
            "recipe=none."
        )
    found = [seen for rule in rules if (seen := _seen(rule, tokens)) is not None]
    return functools.reduce(operator.and_, found) if found else None


def _seen(rule: Mask, tokens: int) -> Bool[Array, "b W T"] | None:
    """What one rule lets each token see, tap by tap."""
    if isinstance(rule, Window) and rule.size < TAPS:
        near = jnp.arange(BEFORE, -1, -1) < rule.size
        return jnp.broadcast_to(near[None, :, None], (1, TAPS, tokens))
    if isinstance(rule, Padding):
        return _before(rule.valid(jnp.arange(tokens)))
    if isinstance(rule, Segments):
        return _before(rule.key_ids) == rule.query_ids[:, None]
    return None


def _before(of_token: Array) -> Array:
    """Returns what is known of the token that each tap is of, [b, TAPS, T]; of one before the first, anything."""
    count = of_token.shape[1]
    padded = jnp.pad(of_token, ((0, 0), (BEFORE, 0)))
    return jnp.stack([padded[:, place : place + count] for place in range(TAPS)], axis=1)


def kept_bytes(variant: Variant, sizes: Sizes, *, width: int, dtype: jnp.dtype) -> int:
    """Returns how many bytes the convolutions of one layer hold of one sequence while it is decoded.

    Args:
      variant: with its recipe.
      sizes: of its heads.
      width: D, of the tokens.
      dtype: that they are computed in.
    """
    shapes: dict[str, tuple[int, ...]] = {
        INPUTS: (width,),
        "query": (sizes.heads, sizes.query),
        "key": (sizes.kv_heads, sizes.key),
        "value": (sizes.kv_heads, sizes.value),
        **{name: shape_of(one.axes, sizes, owner=name) for name, one in variant.mechanism.per_token.items()},
    }
    return sum(BEFORE * math.prod(shapes[name]) * dtype.itemsize for name in variant.recipe.convolved)
