"""Where a cache keeps tokens of which it holds the first ones and the last ones alone, each in the place of an older.

Under a window no query to come sees a key further back, so that its slot is free for a new one. The first positions
stay where they are: the sinks of StreamingLLM, Xiao et al. 2023, section 3.2, figure 4.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.mask_algebra import Mask, Reach, conjunction
from attention_jax.kernels.position import encoded


@dataclass(frozen=True)
class Ring:
    """The slots of such a cache: one for each of the first positions, then those that are written in turn.

    Attributes:
      first: how many of the first positions are kept for good.
      last: how many of the last ones are kept beside them.
      capacity: the most tokens that a sequence can have.

    Raises:
      Refused: fewer than 0 or than 1 of them are kept.
    """

    first: int
    last: int
    capacity: int

    def __post_init__(self) -> None:
        if self.first < 0 or self.last < 1:
            raise Refused(
                f"a cache that keeps the first {self.first} and the last {self.last} tokens: give 0 or more, and 1 or "
                "more, such as those of mask.reach."
            )

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return self.first + self.last

    def slot(self, position: Int[Array, "*n"]) -> Int[Array, "*n"]:
        """Returns the slot of the token at a position."""
        return jnp.where(position < self.first, position, self.first + (position - self.first) % self.last)

    def keeps(self, position: Int[Array, "B T"], length: Int[Array, " B"]) -> Bool[Array, "B T"]:
        """Returns which positions are kept once a sequence has so many tokens."""
        return (position < self.first) | (position >= length[:, None] - self.last)

    def positions(self, length: Int[Array, " B"], *, beyond: int) -> Int[Array, "B L"]:
        """Returns the position of the token in each slot, once a sequence has so many tokens.

        Args:
          length: [B], tokens of each sequence.
          beyond: a slot that is not written yet stands at least so many positions after them, in the future.
        """
        slot = jnp.arange(self.slots, dtype=length.dtype)[None]
        newest = length[:, None] - 1
        turning = newest - (newest - slot) % self.last
        written = jnp.where(slot < self.first, slot, turning)
        there = jnp.where(slot < self.first, slot <= newest, turning >= self.first)
        return jnp.where(there, written, newest + 1 + beyond + slot)


def reach_of(mask: Mask, *, variant: str = "scaled_dot", position_encoding: str | None = None) -> Reach | None:
    """Returns how far back a variant looks under a mask: all that a cache has to hold of the past.

    Args:
      mask: who sees whom.
      variant: a spec.
      position_encoding: as for `attend`.

    Returns:
      None where it may look at all keys, or minds how they lie in the array: a mask by index, an order of keys, an
      array with an entry for each of them.
    """
    resolved = encoded(variant, position_encoding)
    mechanism = resolved.mechanism
    own = mechanism.mask
    whole = any("length" in one.axes for one in mechanism.arrays.values())
    if whole or not resolved.claims.order_free or not (own is None or isinstance(own, Mask)):
        return None
    seen = conjunction(mask, own)
    assert seen is not None
    return seen.reach if seen.by_position else None
