"""What a mask is, and how masks combine: `&` narrows, `|` widens.

A mask stays symbolic until an engine asks for the part it needs. `visible(query, key)` gives any rectangle of it, and
`cover(query, key)` says, tile by tile, where there is nothing to see and where there is nothing to check. Masks are
pytrees, so they go through jit, vmap and scan like arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from operator import and_, or_
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Axis:
    """The queries, or the keys, that a mask is asked about.

    Attributes:
      index: [t], where each stands in its array.
      position: [B or 1, t], where each stands in its sequence.
    """

    index: Int[Array, " t"]
    position: Int[Array, "b t"]


@dataclass(frozen=True)
class Tiles:
    """The queries, or the keys, cut into tiles of `size` tokens, the last one perhaps short.

    Attributes:
      size: tokens in a tile.
      index: [t], the index of each token.
      first: [n], the lowest index in each tile.
      last: [n], the highest.
      lowest: [B or 1, n], the lowest position in it.
      highest: [B or 1, n], the highest.
    """

    size: int
    index: Int[Array, " t"]
    first: Int[Array, " n"]
    last: Int[Array, " n"]
    lowest: Int[Array, "b n"]
    highest: Int[Array, "b n"]

    @staticmethod
    def of(axis: Axis, size: int) -> "Tiles":
        """Returns the tiles of all tokens of an axis."""
        return Tiles(
            size=size,
            index=axis.index,
            first=extreme(axis.index, size, jnp.min),
            last=extreme(axis.index, size, jnp.max),
            lowest=extreme(axis.position, size, jnp.min),
            highest=extreme(axis.position, size, jnp.max),
        )


def extreme(array: Array, size: int, reduce: Callable[..., Array], *, axis: int = -1) -> Array:
    """Returns `reduce` over each tile of `size` elements along an axis; the last tile may be short."""
    short = -array.shape[axis] % size
    array = jnp.moveaxis(array, axis, -1)
    array = jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, short)], mode="edge")
    return jnp.moveaxis(reduce(array.reshape(*array.shape[:-1], -1, size), axis=-1), -1, axis)


Cover = tuple[Bool[Array, "b n i j"], Bool[Array, "b n i j"]]


@dataclass(frozen=True)
class Run:
    """A run of sequences, or of query heads.

    Attributes:
      first: the number of the first.
      count: how many.
    """

    first: Int[Array, ""] | int
    count: int


def rows(array: Array, run: Run, *, axis: int = 0) -> Array:
    """Returns a run of rows of an array, or the array where it has one row for all."""
    if array.shape[axis] == 1:
        return array
    return jax.lax.dynamic_slice_in_dim(array, run.first, run.count, axis)


class Reach(NamedTuple):
    """Which keys of its past a query may see at most: the first ones and the last ones of its sequence.

    Attributes:
      first: so many, from position 0.
      last: so many, its own among them.
    """

    first: int
    last: int


class Mask:
    """A rule that says which query may see which key. Combine with `&` and `|`."""

    # Makes NumPy leave `array & mask` to `__rand__`, where it would otherwise combine element by element.
    __array_ufunc__ = None

    @property
    def causal(self) -> bool:
        """Whether the rule alone implies key position <= query position."""
        return False

    @property
    def positional(self) -> bool:
        """Whether the rule compares positions."""
        return False

    @property
    def by_position(self) -> bool:
        """Whether the rule goes by positions alone."""
        return self.positional

    @property
    def reach(self) -> Reach | None:
        """How far back the rule lets a query look, the future left out; None where that is not bounded."""
        return None

    @property
    def blocks(self) -> tuple[int, int] | None:
        """The tokens of a block of queries and of a block of keys, where few of them meet; None for no blocks."""
        return None

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        """Returns the rectangle of the rule at these queries and keys, [B or 1, N or 1, t, s]."""
        raise NotImplementedError

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        """Returns, of each pair of tiles, whether some query may see some key, and whether every query sees every key.

        Both are [B or 1, N or 1, query tiles, key tiles]. Either may err on the safe side: some True where no query
        sees a key, every False where all do.
        """
        shape = (1, 1, query.first.shape[0], key.first.shape[0])
        return jnp.ones(shape, bool), jnp.zeros(shape, bool)

    def of(self, sequences: Run, heads: Run) -> "Mask":
        """Returns the rule for a run of sequences and of heads."""
        return self

    def placed(self, key: Int[Array, "b s"]) -> "Mask":
        """Returns the rule for keys that lie in another order: index s of row b now has what index key[b, s] had.

        Raises:
          Refused: it goes by index, and cannot be told so.
        """
        if self.by_position:
            return self
        raise Refused(
            f"{describe(self)} goes by the index of keys, and the cache keeps the last ones alone, in another order: "
            "give a mask by position, or create the cache without reach."
        )

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        """Checks the rule's arrays against the shapes they will meet.

        Raises:
          Refused: an array does not fit.
        """

    def __and__(self, other: "Mask | Array | np.ndarray") -> "Mask":
        return And((self, as_mask(other)))

    def __or__(self, other: "Mask | Array | np.ndarray") -> "Mask":
        return Or((self, as_mask(other)))

    __rand__ = __and__
    __ror__ = __or__


def pytree(*, data: tuple[str, ...] = (), meta: tuple[str, ...] = ()) -> Any:
    return partial(jax.tree_util.register_dataclass, data_fields=list(data), meta_fields=list(meta))


@pytree(data=("array",))
@dataclass(frozen=True, eq=False)
class Dense(Mask):
    """Any rule at all, written out.

    Attributes:
      array: bool [T, S], or [B or 1, N or 1, T, S], True where the query may see the key.
    """

    array: Any

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return self._full()[:, :, query.index[:, None], key.index[None, :]]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        array = self._full()[:, :, query.index[:, None], key.index[None, :]]

        def reduced(reduce: Callable[..., Array]) -> Array:
            return extreme(extreme(array, query.size, reduce, axis=-2), key.size, reduce)

        return reduced(jnp.any), reduced(jnp.all)

    def of(self, sequences: Run, heads: Run) -> "Dense":
        return Dense(rows(rows(self._full(), sequences), heads, axis=1))

    def _full(self) -> Bool[Array, "b n T S"]:
        array = jnp.asarray(self.array)
        return array[None, None] if array.ndim == 2 else array

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        shape, dtype = np.shape(self.array), jnp.result_type(self.array)
        if dtype != jnp.bool_:
            raise Refused(
                f"the mask array is {dtype}: give bool, True where a query may see a key, or pass it as bias."
            )
        full = (1, 1, *shape) if len(shape) == 2 else shape
        if len(full) != 4 or full[0] not in (1, batch) or full[1] not in (1, heads) or full[2:] != (queries, keys):
            raise Refused(
                f"the mask array has shape {shape}: give [{queries}, {keys}] or [{batch} or 1, {heads} or 1, "
                f"{queries}, {keys}]; a mask over keys alone is Padding(array)."
            )


@dataclass(frozen=True, eq=False)
class _Combined(Mask):
    terms: tuple[Mask, ...]

    @property
    def positional(self) -> bool:
        return any(term.positional for term in self.terms)

    @property
    def by_position(self) -> bool:
        return all(term.by_position for term in self.terms)

    def placed(self, key: Int[Array, "b s"]) -> "Mask":
        return type(self)(tuple(term.placed(key) for term in self.terms))

    def of(self, sequences: Run, heads: Run) -> "Mask":
        return type(self)(tuple(term.of(sequences, heads) for term in self.terms))

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        for term in self.terms:
            term.check(batch=batch, heads=heads, queries=queries, keys=keys)


@pytree(data=("terms",))
@dataclass(frozen=True, eq=False)
class And(_Combined):
    """Visible where every term says so."""

    @property
    def causal(self) -> bool:
        return any(term.causal for term in self.terms)

    @property
    def reach(self) -> Reach | None:
        return min((term.reach for term in self.terms if term.reach is not None), key=sum, default=None)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return reduce(and_, (term.visible(query, key) for term in self.terms))

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        some, every = zip(*(term.cover(query, key) for term in self.terms), strict=True)
        return reduce(and_, some), reduce(and_, every)


@pytree(data=("terms",))
@dataclass(frozen=True, eq=False)
class Or(_Combined):
    """Visible where any term says so."""

    @property
    def causal(self) -> bool:
        return all(term.causal for term in self.terms)

    @property
    def reach(self) -> Reach | None:
        reaches = [term.reach for term in self.terms if term.reach is not None]
        if len(reaches) < len(self.terms):
            return None
        return Reach(*map(max, zip(*reaches, strict=True)))

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return reduce(or_, (term.visible(query, key) for term in self.terms))

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        some, every = zip(*(term.cover(query, key) for term in self.terms), strict=True)
        return reduce(or_, some), reduce(or_, every)


def as_mask(mask: "Mask | Array | np.ndarray") -> Mask:
    """Returns a mask as it is and an array as `Dense`.

    Raises:
      Refused: it is neither.
    """
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, (jax.Array, np.ndarray)):
        return Dense(mask)
    raise Refused(f"mask={mask!r} is neither a mask nor an array: try Causal(), Padding(lengths) or a bool array.")


def conjunction(*masks: Mask | None) -> Mask | None:
    """Returns the masks that are not None joined by `&`, or None when there is none."""
    given = tuple(mask for mask in masks if mask is not None)
    if len(given) < 2:
        return given[0] if given else None
    return And(given)


def terms(mask: Mask | None) -> tuple[Mask, ...]:
    """Returns the rules that all must hold, nested `&` flattened; none for no mask."""
    if mask is None:
        return ()
    if isinstance(mask, And):
        return tuple(inner for term in mask.terms for inner in terms(term))
    return (mask,)


def describe(mask: Mask | None) -> str:
    """Returns the rule in the words of its classes, such as "Causal & Window"."""
    if mask is None:
        return "no mask"
    if isinstance(mask, _Combined):
        sign = " & " if isinstance(mask, And) else " | "
        return "(" + sign.join(describe(term) for term in mask.terms) + ")"
    return type(mask).__name__
