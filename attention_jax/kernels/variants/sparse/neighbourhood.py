"""Neighbourhood attention: Hassani et al. 2022 (NAT), section 3.1.

A query of a grid sees the `window` x `window` tokens about it. At an edge the window is moved inwards and never cut, so
that each query sees as many keys. Where the window is the whole grid, that is attention to all of it.

The paper adds a bias by relative position, which is the caller's `bias` or position encoding here.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.grid import Pair, check_window, spans, window_in
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Tiles, pytree
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@pytree(meta=("grid", "sides"))
@dataclass(frozen=True)
class Neighbours(Mask):
    """A token of a grid sees those about it, as many at an edge as elsewhere.

    Attributes:
      grid: its rows and columns.
      sides: rows and columns of a window.
    """

    grid: Pair
    sides: Pair

    @property
    def blocks(self) -> tuple[int, int]:
        return self.sides[1], self.sides[1]

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        of_query, of_key = ((axis.index // self.grid[1], axis.index % self.grid[1]) for axis in (query, key))
        inside = [
            (self._first(mine, axis)[:, None] <= theirs[None])
            & (theirs[None] < self._first(mine, axis)[:, None] + self.sides[axis])
            for axis, (mine, theirs) in enumerate(zip(of_query, of_key, strict=True))
        ]
        return (inside[0] & inside[1])[None, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        mine, theirs = spans(query, self.grid[1]), spans(key, self.grid[1])
        edges = ((mine.top, mine.bottom, theirs.top, theirs.bottom), (mine.left, mine.right, theirs.left, theirs.right))
        overlaps, within = [], []
        for axis, (low, high, first, last) in enumerate(edges):
            start, start_of_last = self._first(low, axis)[:, None], self._first(high, axis)[:, None]
            end, end_of_last = start + self.sides[axis] - 1, start_of_last + self.sides[axis] - 1
            overlaps.append((start <= last[None]) & (first[None] <= end_of_last))
            within.append((start_of_last <= first[None]) & (last[None] <= end))
        return (overlaps[0] & overlaps[1])[None, None], (within[0] & within[1])[None, None]

    def _first(self, coordinate: Int[Array, " t"], axis: int) -> Int[Array, " t"]:
        return jnp.clip(coordinate - self.sides[axis] // 2, 0, self.grid[axis] - self.sides[axis])


@register(
    source=Source(
        "Neighborhood Attention Transformer",
        "section 3.1",
        authors="Hassani, Ali and Walton, Steven and Li, Jiachen and Li, Shen and Shi, Humphrey",
        year=2022,
        venue="CVPR 2023",
        arxiv="2204.07143",
    ),
    claims=Claims(
        causal="no",
        cross=False,
        order_free=False,
        limits=(Limit("neighbourhood:window=7,dimensions=1", equals="scaled_dot", tolerance=2e-6),),
        tried="neighbourhood:window=3,dimensions=1",
        fewest_keys=3,
    ),
)
def neighbourhood(*, window: int = 7, dimensions: int = 2) -> SoftmaxScore:
    """Scaled dot-product attention to the tokens of a grid that are about the query.

    Args:
      window: rows and columns of a window, an odd number, so that the query is in the middle.
      dimensions: 2 for the grid that `attend` is given; 1 for windows of a sequence.

    Raises:
      Refused: the window is smaller than 1, or even.
    """
    check_window("neighbourhood", window, dimensions)
    if window % 2 == 0:
        raise Refused(f"neighbourhood:window={window} has no middle for the query: give an odd number.")

    def mask(sizes: Sizes) -> Mask:
        return Neighbours(*window_in(sizes, window, dimensions, owner="neighbourhood"))

    return SoftmaxScore(scale=None, mask=mask)
