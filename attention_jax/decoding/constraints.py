"""Constraints on what comes next. Any function of (tokens, lengths, logits) is one; these are compared by value."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.decoding.protocol import Constrain


@dataclass(frozen=True)
class Only:
    """Allows these tokens and no others.

    Raises:
      Refused: there are none, or one is negative; at the first step, one that the vocabulary lacks.
    """

    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.tokens or min(self.tokens) < 0:
            raise Refused(f"Only(tokens={self.tokens}): give one token at least, each 0 or more.")

    def __call__(
        self, tokens: Int[Array, "B M"], lengths: Int[Array, " B"], logits: Float[Array, "B V"]
    ) -> Float[Array, "B V"]:
        """Returns the logits with -inf for all other tokens."""
        if max(self.tokens) >= logits.shape[1]:
            raise Refused(f"Only allows token {max(self.tokens)}, but the logits are of {logits.shape[1]} tokens.")
        allowed = jnp.zeros(logits.shape[1], bool).at[jnp.asarray(self.tokens)].set(True)
        return jnp.where(allowed, logits, -jnp.inf)


@dataclass(frozen=True)
class AtLeast:
    """Allows none of the tokens in `end` before the `length`-th new token, so that there are `length` at least.

    Raises:
      Refused: the length is negative.
    """

    length: int
    end: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.length < 0:
            raise Refused(f"AtLeast(length={self.length}): give 0 new tokens or more.")

    def __call__(
        self, tokens: Int[Array, "B M"], lengths: Int[Array, " B"], logits: Float[Array, "B V"]
    ) -> Float[Array, "B V"]:
        """Returns the logits with -inf for the end tokens of the rows that are too short to end now."""
        ends = jnp.isin(jnp.arange(logits.shape[1]), jnp.asarray(self.end, jnp.int32))
        return jnp.where(ends & (lengths[:, None] + 1 < self.length), -jnp.inf, logits)


@dataclass(frozen=True)
class Together:
    """Applies several constraints, one after the other."""

    constraints: tuple[Constrain, ...]

    def __call__(
        self, tokens: Int[Array, "B M"], lengths: Int[Array, " B"], logits: Float[Array, "B V"]
    ) -> Float[Array, "B V"]:
        """Returns what the last of them leaves."""
        for constrain in self.constraints:
            logits = constrain(tokens, lengths, logits)
        return logits


@dataclass(frozen=True)
class Distinct:
    """Allows no new token twice, but those in `but`."""

    but: tuple[int, ...] = ()

    def __call__(
        self, tokens: Int[Array, "B M"], lengths: Int[Array, " B"], logits: Float[Array, "B V"]
    ) -> Float[Array, "B V"]:
        """Returns the logits with -inf for what was chosen before."""
        chosen = jnp.arange(tokens.shape[1]) < lengths[:, None]
        rows = jnp.arange(len(tokens))[:, None]
        taken = jnp.zeros(logits.shape, bool).at[rows, tokens].max(chosen, mode="drop")
        allowed = jnp.isin(jnp.arange(logits.shape[1]), jnp.asarray(self.but, jnp.int32))
        return jnp.where(taken & ~allowed, -jnp.inf, logits)


@dataclass(frozen=True)
class Never:
    """Allows none of these tokens."""

    tokens: tuple[int, ...]

    def __call__(
        self, tokens: Int[Array, "B M"], lengths: Int[Array, " B"], logits: Float[Array, "B V"]
    ) -> Float[Array, "B V"]:
        """Returns the logits with -inf for them."""
        return jnp.where(jnp.isin(jnp.arange(logits.shape[1]), jnp.asarray(self.tokens, jnp.int32)), -jnp.inf, logits)
