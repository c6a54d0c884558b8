"""Tokens in a grid, each of its rows or columns folded into a sequence of its own, and any mask with them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.kernels.mask_algebra import Axis, Mask, Run, pytree

Along = Literal["rows", "columns"]


@dataclass(frozen=True)
class Fold:
    """How tokens that lie in a grid, row by row, are folded; the last row may be short.

    Attributes:
      tokens: how many there are.
      columns: how many places a row has.
      along: which lines become sequences.
    """

    tokens: int
    columns: int
    along: Along

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return -(-self.tokens // self.columns)

    @property
    def lines(self) -> int:
        """How many sequences each becomes."""
        return self.rows if self.along == "rows" else self.columns

    def index(self, line: Int[Array, ""], place: Int[Array, " t"]) -> Int[Array, " t"]:
        """Returns where the places of a line stand among the tokens; those that are not there stand behind them."""
        return line * self.columns + place if self.along == "rows" else place * self.columns + line

    def folded(self, array: Array) -> Array:
        """Returns [B, tokens, ...] as [B * lines, places, ...], with 0 where there is no token."""
        more = self.rows * self.columns - self.tokens
        array = jnp.pad(array, [(0, more if axis == 1 else 0) for axis in range(array.ndim)])
        grid = array.reshape(array.shape[0], self.rows, self.columns, *array.shape[2:])
        grid = grid if self.along == "rows" else grid.swapaxes(1, 2)
        return grid.reshape(-1, *grid.shape[2:])

    def unfolded(self, array: Array) -> Array:
        """Returns [B * lines, places, ...] as [B, tokens, ...]."""
        grid = array.reshape(-1, self.lines, *array.shape[1:])
        grid = grid if self.along == "rows" else grid.swapaxes(1, 2)
        return grid.reshape(grid.shape[0], -1, *grid.shape[3:])[:, : self.tokens]


@pytree(meta=("columns", "along"))
@dataclass(frozen=True, eq=False)
class Lines(Mask):
    """In a grid a query sees its own row, or its own column. The grid is filled by index, row by row.

    Attributes:
      columns: how many places a row has.
      along: which of the two.
    """

    columns: int
    along: Along

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        line = jnp.floor_divide if self.along == "rows" else jnp.remainder
        mine, theirs = line(query.index, self.columns), line(key.index, self.columns)
        return (mine[:, None] == theirs[None])[None, None]


@pytree(data=("whole", "query", "key", "first"), meta=("fold", "batch", "heads", "count"))
@dataclass(frozen=True, eq=False)
class Folded(Mask):
    """The rule of the tokens, for sequences that are lines of their grid.

    Attributes:
      whole: the rule of the tokens.
      query: [B or 1, T], the position of each query among them.
      key: [B or 1, T], of each key.
      fold: how they are folded.
      batch: B, how many sequences the tokens have.
      heads: how many heads the rule is for.
      first: the number of the first line; those of a sequence stand together.
      count: how many lines there are.
    """

    whole: Mask
    query: Any
    key: Any
    fold: Fold
    batch: int
    heads: int
    count: int
    first: Any = 0

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        def of_line(number: Int[Array, ""]) -> Bool[Array, "n t s"]:
            sequence, line = number // self.fold.lines, number % self.fold.lines
            mine, theirs = self.fold.index(line, query.index), self.fold.index(line, key.index)
            axes = (self._axis(*side, sequence) for side in ((self.query, mine), (self.key, theirs)))
            seen = self.whole.of(Run(sequence, 1), Run(0, self.heads)).visible(*axes)[0]
            return seen & (theirs < self.fold.tokens)[None, None]

        return jax.vmap(of_line)(self.first + jnp.arange(self.count))

    def _axis(self, position: Int[Array, "b T"], index: Int[Array, " t"], sequence: Int[Array, ""]) -> Axis:
        index = jnp.minimum(index, self.fold.tokens - 1)
        return Axis(index, position[jnp.minimum(sequence, position.shape[0] - 1)][None, index])

    def of(self, sequences: Run, heads: Run) -> "Folded":
        whole = self.whole.of(Run(0, self.batch), heads)
        return replace(self, whole=whole, heads=heads.count, first=self.first + sequences.first, count=sequences.count)
