"""Who may see whom, as values: `Causal() & Window(256) & Padding(lengths)`.

True means "may attend". `&` binds tighter than `|`, as in Python. Position or index: Causal, Window, PrefixLM and
Global compare positions (where a token stands in its sequence, given to `attend` as `positions`); Padding, Segments and
Dense look up by index (where it stands in the array).
"""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.integers import identities, moved, whole_numbers
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Reach, Run, Tiles, extreme, pytree, rows


def _positive(owner: str, value: int, way_out: str) -> int:
    """Returns the value as Python's own integer, which never overflows."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise Refused(f"{owner}({value!r}): it must be a whole number of at least 1; {way_out}.")
    return int(value)


@pytree()
@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """A key is visible to the queries at its position and after it."""

    @property
    def causal(self) -> bool:
        return True

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return (key.position[:, None, :] <= query.position[:, :, None])[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        return (
            (key.lowest[:, None, :] <= query.highest[:, :, None])[:, None],
            (key.highest[:, None, :] <= query.lowest[:, :, None])[:, None],
        )


@pytree(meta=("size",))
@dataclass(frozen=True, eq=False)
class Window(Mask):
    """A key is visible when it is fewer than `size` positions away, on either side.

    `Causal() & Window(size)` keeps `size` keys, the query's own among them (Mistral's count); `Window(1)` is the query
    alone.
    """

    size: int

    def __post_init__(self) -> None:
        size = _positive("Window", self.size, "Window(1) keeps the query's own key alone")
        object.__setattr__(self, "size", size)

    @property
    def positional(self) -> bool:
        return True

    @property
    def reach(self) -> Reach:
        return Reach(first=0, last=self.size)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        # Ends that are held at those of the dtype, since a difference of two positions may leave it.
        first, last = moved(query.position, 1 - self.size), moved(query.position, self.size - 1)
        position = key.position[:, None, :]
        return ((first[:, :, None] <= position) & (position <= last[:, :, None]))[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        lowest, highest = key.lowest[:, None, :], key.highest[:, None, :]
        first_of_any, last_of_any = moved(query.lowest, 1 - self.size), moved(query.highest, self.size - 1)
        first_of_all, last_of_all = moved(query.highest, 1 - self.size), moved(query.lowest, self.size - 1)
        some = (first_of_any[:, :, None] <= highest) & (lowest <= last_of_any[:, :, None])
        every = (first_of_all[:, :, None] <= lowest) & (highest <= last_of_all[:, :, None])
        return some[:, None], every[:, None]


@pytree(meta=("count",))
@dataclass(frozen=True, eq=False)
class Global(Mask):
    """The first `count` positions see every key and are seen by every query (Beltagy et al. 2020, Longformer)."""

    count: int

    def __post_init__(self) -> None:
        count = _positive("Global", self.count, "leave Global out for no global positions")
        object.__setattr__(self, "count", count)

    @property
    def positional(self) -> bool:
        return True

    @property
    def reach(self) -> Reach:
        # One of them looks at all keys; those of its past are among them too.
        return Reach(first=self.count, last=1)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return (self._first(query.position)[:, :, None] | self._first(key.position)[:, None, :])[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        return (
            (self._first(query.lowest)[:, :, None] | self._first(key.lowest)[:, None, :])[:, None],
            (self._first(query.highest)[:, :, None] | self._first(key.highest)[:, None, :])[:, None],
        )

    def _first(self, position: Int[Array, "b t"]) -> Bool[Array, "b t"]:
        return position <= min(self.count - 1, jnp.iinfo(position.dtype).max)


@pytree(data=("prefix",))
@dataclass(frozen=True, eq=False)
class PrefixLM(Mask):
    """Causal, but every query also sees the first `prefix` positions (Raffel et al. 2019, figure 4).

    Attributes:
      prefix: one number, or [B], a number for each sequence.
    """

    prefix: Int[Array, " b"] | int

    @property
    def positional(self) -> bool:
        return True

    @property
    def prefixes(self) -> Int[Array, " b"]:
        """The prefix of each sequence, or one for all."""
        return jnp.ravel(whole_numbers(self.prefix, owner="the prefixes of PrefixLM"))

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        prefix = self.prefixes[:, None, None]
        later = key.position[:, None, :] <= query.position[:, :, None]
        return (later | (key.position[:, None, :] < prefix))[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        prefix = self.prefixes[:, None, None]
        some, every = Causal().cover(query, key)
        return (
            some | (key.lowest[:, None, :] < prefix)[:, None],
            every | (key.highest[:, None, :] < prefix)[:, None],
        )

    def of(self, sequences: Run, heads: Run) -> Mask:
        return PrefixLM(rows(self.prefixes, sequences))

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        if self.prefixes.shape not in ((1,), (batch,)) or np.ndim(self.prefix) > 1:
            raise Refused(
                f"PrefixLM has prefixes of shape {np.shape(self.prefix)}: give one, or [{batch}] for this batch."
            )


@pytree(data=("keys",))
@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Only real keys are visible.

    Attributes:
      keys: bool [B, S], True for a real key; or int [B], how many keys, from the first, are real.
    """

    keys: Any

    @property
    def real(self) -> Bool[Array, "b S"] | Int[Array, " b"]:
        """The keys as an array, lengths as int32."""
        keys = jnp.asarray(self.keys)
        return keys if keys.dtype == jnp.bool_ else whole_numbers(self.keys, owner="the lengths of Padding")

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return self.valid(key.index)[:, None, None, :]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        keys = self.real
        if keys.dtype == jnp.bool_:
            keys = keys[:, key.index]
            some, every = extreme(keys, key.size, jnp.any), extreme(keys, key.size, jnp.all)
        else:
            some, every = key.first[None] < keys[:, None], key.last[None] < keys[:, None]
        shape = (keys.shape[0], 1, query.first.shape[0], key.first.shape[0])
        return jnp.broadcast_to(some[:, None, None], shape), jnp.broadcast_to(every[:, None, None], shape)

    def of(self, sequences: Run, heads: Run) -> Mask:
        return Padding(rows(self.real, sequences))

    def placed(self, key: Int[Array, "b s"]) -> Mask:
        keys = self.real
        if keys.dtype != jnp.bool_:
            return Padding(key < keys[:, None])
        keys = jnp.broadcast_to(keys, (max(len(keys), len(key)), keys.shape[1]))
        return Padding(jnp.take_along_axis(keys, key, axis=1, mode="fill", fill_value=False))

    def valid(self, index: Int[Array, " s"]) -> Bool[Array, "b s"]:
        """Returns, for the keys at `index` [s], which are real, [B, s]."""
        keys = self.real
        return keys[:, index] if keys.dtype == jnp.bool_ else index[None, :] < keys[:, None]

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        real = jnp.asarray(self.keys)
        shape, dtype = real.shape, real.dtype
        if dtype == jnp.bool_ and shape in ((batch, keys), (1, keys)):
            return
        if jnp.issubdtype(dtype, jnp.integer) and self.real.shape in ((batch,), (1,)):
            return
        raise Refused(
            f"Padding has {dtype} of shape {shape} for {batch} sequences of {keys} keys: give bool [{batch}, {keys}], "
            f"True for a real key, or int [{batch}], the number of real keys."
        )


@pytree(data=("query", "key"))
@dataclass(frozen=True, eq=False)
class Segments(Mask):
    """A key is visible to the queries of its own segment, so that packed documents do not see each other.

    Attributes:
      query: int or bool [B or 1, T], each query's segment.
      key: [B or 1, S], each key's segment; None when the keys are the queries.
    """

    query: Any
    key: Any = field(default=None)

    @property
    def query_ids(self) -> Int[Array, "b T"]:
        """The id of each query."""
        return identities(self.query, owner="the query ids of Segments")

    @property
    def key_ids(self) -> Int[Array, "b S"]:
        """The id of each key."""
        return self.query_ids if self.key is None else identities(self.key, owner="the key ids of Segments")

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        of_query, of_key = self.query_ids[:, query.index], self.key_ids[:, key.index]
        return (of_query[:, :, None] == of_key[:, None, :])[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        of_query, of_key = self.query_ids[:, query.index], self.key_ids[:, key.index]
        lowest, highest = (extreme(of_query, query.size, reduce)[:, None, :, None] for reduce in (jnp.min, jnp.max))
        low_key, high_key = (extreme(of_key, key.size, reduce)[:, None, None, :] for reduce in (jnp.min, jnp.max))
        overlap = (lowest <= high_key) & (low_key <= highest)
        return overlap, overlap & (lowest == highest) & (low_key == high_key)

    def of(self, sequences: Run, heads: Run) -> Mask:
        key = None if self.key is None else rows(self.key_ids, sequences)
        return Segments(rows(self.query_ids, sequences), key)

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        for name, ids, length in (("query", self.query_ids, queries), ("key", self.key_ids, keys)):
            if ids.shape not in ((batch, length), (1, length)):
                raise Refused(
                    f"Segments has {name} ids of shape {ids.shape}, but there are {batch} sequences of {length}: "
                    f"give int [{batch}, {length}]."
                )


@pytree(data=("chosen",), meta=("query_block", "key_block"))
@dataclass(frozen=True, eq=False)
class Blocks(Mask):
    """Each block of queries sees the blocks of keys chosen for it: random, strided, or chosen by content.

    BigBird's random blocks (Zaheer et al. 2020, section 2), the routing of MoBA (Lu et al. 2025, equation 5) and of NSA
    (Yuan et al. 2025, equation 11) are such choices. Blocks are counted by index.

    Attributes:
      chosen: bool [B or 1, N or 1, query blocks, key blocks].
      query_block: queries in a block; 1 lets each query choose.
      key_block: keys in a block.
    """

    chosen: Any
    query_block: int
    key_block: int

    def __post_init__(self) -> None:
        query_block = _positive("Blocks.query_block", self.query_block, "1 lets each query choose")
        key_block = _positive("Blocks.key_block", self.key_block, "1 chooses single keys")
        object.__setattr__(self, "query_block", query_block)
        object.__setattr__(self, "key_block", key_block)

    @property
    def blocks(self) -> tuple[int, int]:
        return self.query_block, self.key_block

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        blocks = query.index[:, None] // self.query_block, key.index[None, :] // self.key_block
        return jnp.asarray(self.chosen)[:, :, *blocks]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        # Counts over rectangles of blocks are differences of sums over all blocks before.
        sums = jnp.pad(jnp.asarray(self.chosen).astype(jnp.int32), [(0, 0), (0, 0), (1, 0), (1, 0)])
        sums = sums.cumsum(-1).cumsum(-2)
        top, bottom = query.first // self.query_block, query.last // self.query_block + 1
        left, right = key.first // self.key_block, key.last // self.key_block + 1
        by_row = sums[:, :, bottom] - sums[:, :, top]
        count = by_row[..., right] - by_row[..., left]
        return count > 0, count == (bottom - top)[:, None] * (right - left)[None]

    def of(self, sequences: Run, heads: Run) -> Mask:
        chosen = rows(rows(jnp.asarray(self.chosen), sequences), heads, axis=1)
        return Blocks(chosen, self.query_block, self.key_block)

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        shape, dtype = np.shape(self.chosen), jnp.result_type(self.chosen)
        blocks = (-(-queries // self.query_block), -(-keys // self.key_block))
        fits = len(shape) == 4 and shape[0] in (1, batch) and shape[1] in (1, heads) and shape[2:] == blocks
        if dtype != jnp.bool_ or not fits:
            raise Refused(
                f"Blocks has {dtype} of shape {shape}: {queries} queries and {keys} keys in blocks of "
                f"{self.query_block} and {self.key_block} need bool [{batch} or 1, {heads} or 1, "
                f"{blocks[0]}, {blocks[1]}]."
            )
