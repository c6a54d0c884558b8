"""`attend_pair`, the one entry to every way that two sequences see each other: what a pair is, and what it claims."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Params, SequenceSizes, fitting, made
from attention_jax.kernels.mechanism import statistics_dtype, widest
from attention_jax.kernels.sequences import Real, cleaned, real_tokens, settled
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Build, Chosen, Kind
from attention_jax.kernels.supported import check_jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Paired:
    """What two sequences make of each other.

    Attributes:
      first: of the first sequence, a vector [B, E] or one for each place [B, T', E], in the dtype of the sequences. A
        place of a hidden token has 0.
      second: of the second, alike.
      affinity: [B, T, S], float32, how near a token of the first and one of the second are; 0 where one is hidden.
      first_weights: [B, T] or [B, T, S], float32, shares of the tokens of the first; None for a pair that has none.
      second_weights: [B, S] or [B, T, S], float32, shares of the tokens of the second.
    """

    first: Float[Array, "B ..."]
    second: Float[Array, "B ..."]
    affinity: Float[Array, "B T S"]
    first_weights: Float[Array, "B T ..."] | None = None
    second_weights: Float[Array, "B ... S"] | None = None


class PairGiven(NamedTuple):
    """What a pair has beside the tokens.

    Attributes:
      params: its own arrays, in the dtype of the tokens.
      first: [B, T], which tokens of the first sequence are real; there may be none.
      second: [B, S], of the second.
    """

    params: Params
    first: Bool[Array, "B T"]
    second: Bool[Array, "B S"]

    @property
    def both(self) -> Bool[Array, "B T S"]:
        """Which pairs of tokens are real."""
        return self.first[:, :, None] & self.second[:, None]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A way that two sequences see each other.

    Attributes:
      pair: (first [B, T, D], second [B, S, D], given) -> Paired, all of it float32 (float64 for float64). Hidden tokens
        are 0 in it, and what it returns where a sequence has no real token is not used.
      arrays: its own arrays by name; the letters of their axes are D, the width of a token, and length, the number of
        places of the longer sequence.
    """

    pair: Callable[[Array, Array, PairGiven], Paired]
    arrays: dict[str, Declared] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class PairClaims:
    """What a pair says of itself.

    Attributes:
      order_free: the order of the tokens of a sequence does not matter, but to the order of its places in the result.
      swapped: the arrays with which the two sequences can change places, from those with which they have not; None for
        a pair that treats them differently.
      tried: the spec that the contract tries, whose options make it do at few tokens what it is for; None for the name
        alone.
    """

    order_free: bool = True
    swapped: Callable[[Params], Params] | None = None
    tried: str | None = None


PAIRS = Kind("pair", Catalogue("pair", "attention_jax.kernels.pairs"), example="co_attention")


def register_pair(*, source: Source, claims: PairClaims, aliases: tuple[str, ...] = ()) -> Callable[[Build], Build]:
    """Registers the decorated function, which returns a `Pair`, by its name: see `Kind.register`.

    Args:
      source: where it was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.

    Raises:
      Refused: another pair has the name.
    """
    return PAIRS.register(source=source, claims=claims, aliases=aliases)


@functools.lru_cache(maxsize=1024)
def lookup_pair(spec: str) -> Chosen[Pair]:
    """Returns the pair that a spec chooses, such as "abcnn_2:window=3" or "my_file.py:my_pair".

    Raises:
      Refused: the name, an option or a value is wrong; the message gives the nearest right name.
    """
    return PAIRS.choose(spec)


def attend_pair(
    first: Float[Array, "B T D"],
    second: Float[Array, "B S D"],
    *,
    pair: str,
    params: Params | None = None,
    first_mask: Real = None,
    second_mask: Real = None,
) -> Paired:
    """Lets two sequences see each other by any registered pair.

    Where one of the two has no real token, all is 0. What is not real never touches the result, not even when it holds
    NaN; a real token that is not finite, of either, gives NaN. Safe under jit, grad, vmap, remat and scan.

    Args:
      first: [B, T, D].
      second: [B, S, D].
      pair: a spec such as "bidaf" or "abcnn_2:window=3"; `launch.py list` shows them.
      params: the pair's own arrays, as `pair_init` makes them.
      first_mask: which tokens of the first are real: `Padding`, or bool [B, T]. None: all are.
      second_mask: of the second.

    Raises:
      Refused: shapes do not fit, or an array is missing.
    """
    check_jax()
    both = real_tokens("first", first, first_mask), real_tokens("second", second, second_mask)
    if first.shape[0] != second.shape[0] or first.shape[2] != second.shape[2]:
        raise Refused(
            f"first {first.shape} and second {second.shape} differ in batch or width: give [B, T, D] and [B, S, D]."
        )
    chosen = lookup_pair(pair).made
    sizes = SequenceSizes(first.shape[2], length=max(first.shape[1], second.shape[1]))
    params = fitting(pair, chosen.arrays, params, sizes, maker="pair_init(spec, rng, width, length)")
    dtype = widest(first.dtype, second.dtype)
    inner = statistics_dtype(dtype)
    (clean_first, bad_first), (clean_second, bad_second) = map(cleaned, (first, second), both)
    given = PairGiven({name: array.astype(inner) for name, array in params.items()}, *both)
    paired = chosen.pair(clean_first.astype(inner), clean_second.astype(inner), given)
    empty = ~(both[0].any(-1) & both[1].any(-1))
    paired = settled(paired, empty=empty, poisoned=bad_first | bad_second)
    out = paired.first.astype(dtype), paired.second.astype(dtype)
    return Paired(*out, paired.affinity, paired.first_weights, paired.second_weights)


def pair_init(spec: str, rng: PRNGKeyArray, width: int, length: int | None = None) -> Params:
    """Makes a pair's own arrays, float32.

    Args:
      spec: of the pair.
      rng: a key.
      width: D, of a token.
      length: the longest sequence, for a pair with a number for each place.

    Raises:
      Refused: the pair needs a length.
    """
    trained, drawn = made(lookup_pair(spec).made.arrays, rng, SequenceSizes(width, length=length))
    return trained | drawn


def by_place(array: Float[Array, "B T E"], real: Bool[Array, "B T"]) -> Float[Array, "B T E"]:
    """Returns the array with 0 at the places of hidden tokens."""
    return jnp.where(real[..., None], array, 0)
