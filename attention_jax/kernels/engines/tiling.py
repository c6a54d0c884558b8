"""Which tiles of keys each tile of queries meets: those wholly visible first, then those that the mask cuts."""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.kernels.mask_algebra import Axis, Mask, Tiles, extreme


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TileLists:
    """For each tile of queries, the tiles of keys in the order they are met: wholly visible, cut, then empty.

    Attributes:
      ranked: [b, k, query tiles, key tiles], (kind J + number) of the J tiles of keys in this order, where the kind is
        0 for wholly visible, 1 for cut, 2 for empty.
      bounds: [b, k, query tiles, 2], how many are wholly visible, and how many are not empty.
      count: J.
    """

    ranked: Int[Array, "b k i j"]
    bounds: Int[Array, "b k i 2"]
    count: int = field(metadata={"static": True})

    @property
    def order(self) -> Int[Array, "b k i j"]:
        """The number of each tile of keys."""
        return self.ranked % self.count

    @property
    def whole(self) -> Int[Array, "b k i"]:
        """How many tiles of keys are wholly visible."""
        return self.bounds[..., 0]

    @property
    def met(self) -> Int[Array, "b k i"]:
        """How many are not empty."""
        return self.bounds[..., 1]

    def at(self, batch: Int[Array, ""], head: Int[Array, ""], tile: Int[Array, ""]) -> tuple[Array, Array, Array]:
        """Returns (order, whole, met) of one tile of queries of one sequence and key head."""
        place = tuple(0 if n == 1 else i for i, n in zip((batch, head), self.ranked.shape[:2], strict=True))
        ranked, bounds = (
            jax.lax.dynamic_slice(
                array, (*place, tile, 0), (1, 1, 1, array.shape[-1]), allow_negative_indices=False
            ).ravel()
            for array in (self.ranked, self.bounds)
        )
        return divided(ranked, self.count)[1], bounds[0], bounds[1]


@dataclass(frozen=True)
class TileSizes:
    """How a problem is cut.

    Attributes:
      query: queries in a tile.
      key: keys in a tile.
      slab: tiles of keys that are met at once.
      heads: key heads, with the query heads of each, that are met at once.
    """

    query: int
    key: int
    slab: int = 1
    heads: int = 1


def tile_size(length: int, largest: int) -> int:
    """Returns the size, at most `largest`, of equal tiles that cover `length` tokens: a multiple of 16 if it can be."""
    size = -(-length // -(-length // largest))
    return min(-(-size // 16) * 16, largest, length)


def divided(number: Int[Array, "*n"], by: int) -> tuple[Int[Array, "*n"], Int[Array, "*n"]]:
    """Returns the quotient and the rest of numbers that are not negative: jnp looks after signs, which costs."""
    divisor = jnp.asarray(by, number.dtype)
    return jax.lax.div(number, divisor), jax.lax.rem(number, divisor)


def tile_lists(mask: Mask | None, query: Axis, key: Axis, *, sizes: TileSizes, kv_heads: int) -> TileLists:
    """Returns which tiles meet under a mask.

    Args:
      mask: who may see whom.
      query: all queries.
      key: all keys.
      sizes: of the tiles. Where they do not divide the keys, the last tile is one that is cut; the order is filled up
        to a multiple of the slab.
      kv_heads: K; the tiles of key heads that are met at once are those that any of their query heads meets.
    """
    queries, keys = _tiles(query, sizes.query), _tiles(key, sizes.key)
    count, runs = keys.first.shape[0], kv_heads // sizes.heads
    some = jnp.ones((1, 1, queries.first.shape[0], count), bool)
    every = some
    if mask is not None:
        some, every = mask.cover(queries, keys)
        some, every = _of_group(some, runs).any(2), _of_group(every, runs).all(2)
    if key.index.shape[0] % sizes.key:
        every = every.at[..., -1].set(False)
    kind = jnp.where(some, jnp.where(every, 0, 1), 2)
    # Sorted as one number, which a CPU does with less to compile than two together.
    ranked = jax.lax.sort((kind * count + jnp.arange(count)[None, None, None]).astype(jnp.int32), is_stable=False)
    bounds = (ranked[..., None, :] < count * jnp.arange(1, 3)[None, None, None, :, None]).sum(-1, dtype=jnp.int32)
    return TileLists(jnp.pad(ranked, [(0, 0)] * 3 + [(0, -count % sizes.slab)]), bounds, count)


def _tiles(axis: Axis, size: int) -> Tiles:
    """What `Tiles.of` gives, with less to compile: XLA on a CPU makes two loops of a reduction over more than 32."""
    first, last = _extremes(axis.index, size)
    lowest, highest = _extremes(axis.position, size)
    return Tiles(size=size, index=axis.index, first=first, last=last, lowest=lowest, highest=highest)


def _extremes(array: Int[Array, "*b t"], size: int) -> tuple[Int[Array, "*b n"], Int[Array, "*b n"]]:
    inner = math.gcd(size, 32)
    # The complement turns the order round, and unlike the negative it has one for every number.
    both = extreme(extreme(jnp.stack([~array, array]), inner, jnp.max), size // inner, jnp.max)
    return ~both[0], both[1]


def _of_group(array: Array, runs: int) -> Array:
    heads = array.shape[1]
    return array[:, :, None] if heads == 1 else array.reshape(array.shape[0], runs, -1, *array.shape[2:])
