"""Which tiles of keys each tile of queries meets: those wholly visible first, then those that the mask cuts."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.kernels.mask_algebra import Axis, Mask, Tiles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TileLists:
    """For each tile of queries, the tiles of keys in the order they are met.

    Attributes:
      order: [b, k, query tiles, key tiles], numbers of key tiles: wholly visible, cut, then empty.
      whole: [b, k, query tiles], how many are wholly visible.
      met: [b, k, query tiles], how many are not empty.
    """

    order: Int[Array, "b k i j"]
    whole: Int[Array, "b k i"]
    met: Int[Array, "b k i"]

    def at(self, batch: Int[Array, ""], head: Int[Array, ""], tile: Int[Array, ""]) -> tuple[Array, Array, Array]:
        """Returns (order, whole, met) of one tile of queries of one sequence and key head."""
        batch, head = (jnp.minimum(i, n - 1) for i, n in zip((batch, head), self.order.shape[:2], strict=True))
        return self.order[batch, head, tile], self.whole[batch, head, tile], self.met[batch, head, tile]


@dataclass(frozen=True)
class TileSizes:
    """How a problem is cut.

    Attributes:
      query: queries in a tile.
      key: keys in a tile.
      slab: tiles of keys that are met at once.
    """

    query: int
    key: int
    slab: int = 1


def tile_size(length: int, largest: int) -> int:
    """Returns the size, at most `largest`, of equal tiles that cover `length` tokens: a multiple of 16 if it can be."""
    size = -(-length // -(-length // largest))
    return min(-(-size // 16) * 16, largest, length)


def tile_lists(mask: Mask | None, query: Axis, key: Axis, *, sizes: TileSizes, kv_heads: int) -> TileLists:
    """Returns which tiles meet under a mask.

    Args:
      mask: who may see whom.
      query: all queries.
      key: all keys.
      sizes: of the tiles. Where they do not divide the keys, the last tile is one that is cut; the order is filled up
        to a multiple of the slab.
      kv_heads: K; the tiles of a key head are those that any of its query heads meets.
    """
    queries, keys = Tiles.of(query, sizes.query), Tiles.of(key, sizes.key)
    some = jnp.ones((1, 1, queries.first.shape[0], keys.first.shape[0]), bool)
    every = some
    if mask is not None:
        some, every = mask.cover(queries, keys)
        some, every = _of_group(some, kv_heads).any(2), _of_group(every, kv_heads).all(2)
    if key.index.shape[0] % sizes.key:
        every = every.at[..., -1].set(False)
    kind = jnp.where(some, jnp.where(every, 0, 1), 2)
    order = jnp.argsort(kind, axis=-1, stable=True).astype(jnp.int32)
    return TileLists(
        order=jnp.pad(order, [(0, 0)] * 3 + [(0, -order.shape[-1] % sizes.slab)]),
        whole=(kind == 0).sum(-1, dtype=jnp.int32),
        met=(kind < 2).sum(-1, dtype=jnp.int32),
    )


def _of_group(array: Array, kv_heads: int) -> Array:
    heads = array.shape[1]
    return array[:, :, None] if heads == 1 else array.reshape(array.shape[0], kv_heads, -1, *array.shape[2:])
