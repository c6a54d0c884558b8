"""Tokens that lie in a grid, row by row: how large it is, and which rows and columns a tile of them reaches into."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.mask_algebra import Tiles

# Two numbers, of rows and of columns.
Pair = tuple[int, int]


class Span(NamedTuple):
    """The first and the last row, and column, that tiles reach into, each [n]."""

    top: Int[Array, " n"]
    bottom: Int[Array, " n"]
    left: Int[Array, " n"]
    right: Int[Array, " n"]


def spans(tiles: Tiles, columns: int) -> Span:
    """Returns the rectangles that tiles of a grid lie in; a tile that goes on in the next row takes all columns."""
    top, bottom = tiles.first // columns, tiles.last // columns
    left = jnp.where(top == bottom, tiles.first % columns, 0)
    right = jnp.where(top == bottom, tiles.last % columns, columns - 1)
    return Span(top, bottom, left, right)


def check_window(owner: str, window: int, dimensions: int) -> None:
    """Checks the options that windows of a grid have in common.

    Raises:
      Refused: the window is smaller than 1, or the dimensions are neither 1 nor 2.
    """
    if window < 1:
        raise Refused(f"{owner}:window={window} has no place in it: give at least 1, the query's own.")
    if dimensions not in (1, 2):
        raise Refused(f"{owner}:dimensions={dimensions} is neither 2, of a grid, nor 1, of a sequence.")


def window_in(sizes: Sizes, window: int, dimensions: int, *, owner: str) -> tuple[Pair, Pair]:
    """Returns the grid that the tokens lie in and how many rows and columns of it a window takes.

    Args:
      sizes: with the grid; for one dimension the length will do.
      window: tokens on a side.
      dimensions: 2 of a grid; 1 of a sequence, which is a grid of one row.
      owner: the name of the variant, for the messages.

    Raises:
      Refused: there is no grid where one is needed, or the window is larger than it.
    """
    if dimensions == 2 and sizes.grid is None:
        raise Refused(
            f"{owner} goes by rows and columns, and no grid is given: give attend(..., grid=(rows, columns)), to the "
            f"model vit pooling='mean' (a class token lies in no grid), or {owner}:dimensions=1 for windows of a "
            "sequence."
        )
    if dimensions == 2 and sizes.grid is not None:
        if window > min(sizes.grid):
            raise Refused(
                f"{owner}:window={window} is larger than the grid of {sizes.grid[0]} x {sizes.grid[1]} tokens: give "
                f"at most {min(sizes.grid)}, or variant scaled_dot, which sees all of it."
            )
        return sizes.grid, (window, window)
    if sizes.length is None or window > sizes.length:
        raise Refused(
            f"{owner}:window={window} is larger than the sequence of {sizes.length} tokens: give at most as many, or "
            "variant scaled_dot, which sees all of them."
        )
    return (1, sizes.length), (1, window)
