"""A problem cut into units: one tile of queries of one sequence and one key head or a few, and the slabs it meets.

Arrays stay in the layout of `attend`, [B, T, N, H]: a tile is copied out where it is used and a result written to its
place, so that no whole array is transposed. A last tile that is short is read from further back; what it repeats is
hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.kernels import dropout
from attention_jax.kernels.engines import products
from attention_jax.kernels.engines.poison import finite
from attention_jax.kernels.engines.tiling import TileSizes, divided, tile_lists
from attention_jax.kernels.mask_algebra import Axis, Mask, Run, rows
from attention_jax.kernels.mechanism import Given, Place, dot, statistics_dtype, widest
from attention_jax.kernels.scores import Scorer, Terms, shaped


@dataclass(frozen=True)
class Plan:
    """What is fixed when the program is traced.

    Attributes:
      scorer: how logits are formed.
      sizes: of the tiles.
      query_scale: multiplies each tile of queries: the scorer's scale, where that rounds nothing more.
      dropout_rate: the share of weights that go.
      floating: of each array that a score function captures, whether it is differentiated.
      partial: whether results are parts of larger sums, and so stay in the dtype of statistics.
    """

    scorer: Scorer
    sizes: TileSizes
    query_scale: float
    dropout_rate: float
    floating: tuple[bool, ...]
    partial: bool = False


class Differentiable(NamedTuple):
    """Inputs with a gradient: prepared query [B, T, N, P], key [B, S, K, P], value [B, S, K, Hv], and the score's."""

    query: Array
    key: Array
    value: Array
    terms: Terms


class NonDifferentiable(NamedTuple):
    """Inputs without a gradient: mask, axes, dropout key, rows that are NaN.

    Attributes:
      mask: who may see whom.
      query: the index [T] and position [B or 1, T] of each query.
      key: the index [S] and position [B or 1, S] of each key.
      origin: the number of the first sequence, and of the first query head.
      captures: the integers that a score function closes over.
      rng: a raw key for dropout.
      poisoned: [B, N, T], the rows that give NaN.
    """

    mask: Mask | None
    query: Axis
    key: Axis
    origin: tuple[Int[Array, ""], Int[Array, ""]]
    captures: tuple[Array, ...]
    rng: Array | None
    poisoned: Bool[Array, "B N T"]


@dataclass(frozen=True)
class Unit:
    """One tile of queries, of all heads that share a key head, for one key head or a few.

    Attributes:
      batch: the sequence.
      head: the first key head.
      heads: the first query head, and how many, G.
      start: the index of the first query.
      index: [t], the index of each.
      fresh: [t], False for those that belong to the tile before.
      axis: the index and position of each in the whole problem.
      mask: the mask of this sequence and these heads.
      order: [key tiles], the tiles of keys in the order they are met.
      met: how many tiles are met.
      whole: how many slabs are wholly visible.
      slabs: how many slabs are met.
    """

    batch: Int[Array, ""]
    head: Int[Array, ""]
    heads: Run
    start: Int[Array, ""]
    index: Int[Array, " t"]
    fresh: Bool[Array, " t"]
    axis: Axis
    mask: Mask | None
    order: Int[Array, " j"]
    met: Int[Array, ""]
    whole: Int[Array, ""]
    slabs: Int[Array, ""]


@dataclass(frozen=True)
class Slab:
    """The keys that a unit meets at once: `slab` tiles of them.

    Attributes:
      starts: [slab], the first index of each tile.
      index: [s], the index of each key.
      axis: its index and position in the whole problem.
      valid: [s], False for a key that is there twice or not to be met.
    """

    starts: Int[Array, " r"]
    index: Int[Array, " s"]
    axis: Axis
    valid: Bool[Array, " s"]


Pullback = Callable[[Array], tuple[Array, Array, Terms]]

# No place here is counted from the end, and what looks for such places is more to compile and to run.
_cut = partial(jax.lax.dynamic_slice, allow_negative_indices=False)
_put = partial(jax.lax.dynamic_update_slice, allow_negative_indices=False)


class Layout:
    """The units of a problem."""

    def __init__(self, plan: Plan, tensors: Differentiable, fixed: NonDifferentiable):
        self.plan, self.tensors, self.fixed = plan, tensors, fixed
        self.batch, self.queries, self.heads, _ = tensors.query.shape
        self.keys, self.kv_heads = tensors.key.shape[1:3]
        self.runs = self.kv_heads // plan.sizes.heads
        self.groups = self.heads // self.runs
        self.query_tiles = -(-self.queries // plan.sizes.query)
        self.units = self.batch * self.runs * self.query_tiles
        self.dtype = statistics_dtype(tensors.query.dtype)
        # Weights are not rounded to a value that is narrower than the query, and so than what is returned.
        self.value_dtype = widest(tensors.query.dtype, tensors.value.dtype)
        self.cut = fixed.mask is not None or self.keys % plan.sizes.key != 0 or plan.sizes.slab > 1
        self.lists = tile_lists(fixed.mask, fixed.query, fixed.key, sizes=plan.sizes, kv_heads=self.kv_heads)

    def unit(self, number: Int[Array, ""]) -> Unit:
        """Returns the unit of this number."""
        size, slab = self.plan.sizes.query, self.plan.sizes.slab
        rest, tile = divided(number, self.query_tiles)
        batch, run = divided(rest, self.runs)
        start = jnp.minimum(tile * size, self.queries - size)
        heads = Run(run * self.groups, self.groups)
        index = start + jnp.arange(size)
        order, whole, met = self.lists.at(batch, run, tile)
        return Unit(
            batch=batch,
            head=run * self.plan.sizes.heads,
            heads=heads,
            start=start,
            index=index,
            fresh=index >= tile * size,
            axis=_part(self.fixed.query, batch, [start], size),
            mask=None if self.fixed.mask is None else self.fixed.mask.of(Run(batch, 1), heads),
            order=order,
            met=met,
            whole=divided(whole, slab)[0],
            slabs=divided(met + slab - 1, slab)[0],
        )

    def slab(self, unit: Unit, number: Int[Array, ""]) -> Slab:
        """Returns the slab that a unit meets as this number."""
        size, slab = self.plan.sizes.key, self.plan.sizes.slab
        slots = number * slab + jnp.arange(slab)
        first = _cut(unit.order, (number * slab,), (slab,)) * size
        starts = jnp.minimum(first, self.keys - size).astype(unit.batch.dtype)
        index = starts[:, None] + jnp.arange(size)[None]
        valid = (index >= first[:, None]) & (slots < unit.met)[:, None]
        axis = _part(self.fixed.key, unit.batch, list(starts), size)
        return Slab(starts, index.ravel(), axis, jax.lax.optimization_barrier(valid.ravel()))

    def of_queries(self, array: Array, unit: Unit) -> Array:
        """Returns the rows of an array [B, T, N, H] that belong to a unit, [1, t, G, H]."""
        shape = (1, self.plan.sizes.query, self.groups, array.shape[-1])
        return _cut(array, (unit.batch, unit.start, unit.heads.first, 0), shape)

    def query(self, unit: Unit) -> Array:
        """Returns a unit's queries, finite and scaled, [1, t, G, P]."""
        return products.by_head(finite(self.of_queries(self.tensors.query, unit)) * self.plan.query_scale)

    def of_rows(self, array: Array, unit: Unit) -> Array:
        """Returns what an array [B, N, T] holds for a unit, [1, G, t]."""
        shape = (1, self.groups, self.plan.sizes.query)
        return _cut(array, (unit.batch, unit.heads.first, unit.start), shape)

    def of_keys(self, array: Array, unit: Unit, slab: Slab) -> Array:
        """Returns the rows of an array [B, S, K, H] that a slab holds, finite, [1, s, k, H] for k key heads."""
        shape = (1, self.plan.sizes.key, self.plan.sizes.heads, array.shape[-1])
        tiles = [_cut(array, (unit.batch, slab.starts[i], unit.head, 0), shape) for i in range(self.plan.sizes.slab)]
        return products.by_head(finite(tiles[0] if len(tiles) == 1 else jnp.concatenate(tiles, axis=1)))

    def write(self, array: Array, tile: Array, unit: Unit) -> Array:
        """Returns an array [B, T, N, H] with a unit's rows [1, t, G, H] in their place."""
        if self.queries % self.plan.sizes.query:
            tile = jnp.where(unit.fresh[None, :, None, None], tile, self.of_queries(array, unit))
        return _put(array, tile, (unit.batch, unit.start, unit.heads.first, 0))

    def write_rows(self, array: Array, row: Array, unit: Unit) -> Array:
        """Returns an array [B, N, T] with a unit's [1, G, t] in their place."""
        if self.queries % self.plan.sizes.query:
            row = jnp.where(unit.fresh[None, None], row, self.of_rows(array, unit))
        return _put(array, row, (unit.batch, unit.heads.first, unit.start))

    def add_keys(self, array: Array, tiles: Array, unit: Unit, slab: Slab) -> Array:
        """Returns an array [B, S, K, H] with a slab's rows [1, s, k, H] added."""
        size = self.plan.sizes.key

        def add(number: Array | int, array: Array) -> Array:
            tile = jax.lax.dynamic_slice_in_dim(tiles, number * size, size, axis=1)
            return _added(array, tile, (unit.batch, slab.starts[number], unit.head, 0))

        return self._over_tiles(add, array)

    def visible(self, unit: Unit, slab: Slab) -> Bool[Array, "1 n t s"]:
        """Returns which keys of a slab a unit's queries see."""
        valid = slab.valid[None, None, None]
        if unit.mask is None:
            return valid
        return valid & unit.mask.visible(unit.axis, slab.axis)

    def terms(self, unit: Unit, slab: Slab) -> Terms:
        """Returns the score's own arrays, for a unit and a slab."""
        terms = self.tensors.terms
        shared = self.plan.scorer.shared
        own = {name: array if name in shared else rows(array, unit.heads) for name, array in terms.own.items()}
        bias = None if terms.bias is None else self._of_bias(terms.bias, unit, slab)
        return Terms(own, bias, terms.captures)

    def _of_bias(self, bias: Array, unit: Unit, slab: Slab) -> Array:
        bias = rows(rows(bias, Run(unit.batch, 1)), unit.heads, axis=1)
        bias = rows(bias, Run(unit.start, self.plan.sizes.query), axis=2)
        if bias.shape[3] == 1:
            return bias
        return jnp.concatenate([rows(bias, Run(start, self.plan.sizes.key), axis=3) for start in slab.starts], axis=3)

    def add_terms(self, total: Terms, part: Terms, unit: Unit, slab: Slab) -> Terms:
        """Returns the sum of gradients of the score's own arrays with those of a unit and a slab added."""
        heads, shared = unit.heads.first + jnp.arange(self.groups), self.plan.scorer.shared
        own = {
            name: array + part.own[name] if name in shared else array.at[heads].add(part.own[name])
            for name, array in total.own.items()
        }
        captures = tuple(a + b for a, b in zip(total.captures, part.captures, strict=True))
        of_bias = part.bias
        if total.bias is None or of_bias is None:
            return Terms(own, None, captures)
        place = (unit.batch, unit.heads.first, unit.start)
        first = tuple(start if size > 1 else 0 for start, size in zip(place, total.bias.shape, strict=False))
        if total.bias.shape[3] == 1:
            return Terms(own, _added(total.bias, of_bias, (*first, 0)), captures)
        size = self.plan.sizes.key

        def add(number: Array | int, bias: Array) -> Array:
            tile = jax.lax.dynamic_slice_in_dim(of_bias, number * size, size, axis=3)
            return _added(bias, tile, (*first, slab.starts[number]))

        return Terms(own, self._over_tiles(add, total.bias), captures)

    def _over_tiles(self, add: Callable[[Array | int, Array], Array], array: Array) -> Array:
        # A loop, since XLA copies the whole array between updates that follow each other in one body.
        return jax.lax.fori_loop(0, self.plan.sizes.slab, add, array) if self.plan.sizes.slab > 1 else add(0, array)

    def logits(self, query: Array, key: Array, unit: Unit, slab: Slab) -> Array:
        """Returns the logits of a unit's queries with a slab's keys, [1, G, t, s]."""
        terms, pairwise = self.terms(unit, slab), self.plan.scorer.pairwise
        given = Given(terms.own, place=self._place(unit, slab))
        scores = _dot(query, key, self.dtype) if pairwise is dot else pairwise(query, key, given)
        return self._shaped(scores, terms, unit, slab, None)

    def logits_vjp(
        self, query: Array, key: Array, unit: Unit, slab: Slab, visible: Bool[Array, "b n t s"] | None
    ) -> tuple[Array, Pullback]:
        """Returns the logits, and what takes their cotangent to those of query, key and the score's own arrays.

        The cotangent is 0 where `visible`, of a slab that the mask cuts, is False.
        """
        terms, pairwise = self.terms(unit, slab), self.plan.scorer.pairwise
        if pairwise is dot:
            pairs = _dot(query, key, self.dtype)
            of_pair: Callable[[Array], Any] = partial(_dot_pullback, query, key)
        else:
            place = self._place(unit, slab)
            pairs, of_pair = jax.vjp(lambda q, k, own: pairwise(q, k, Given(own, place=place)), query, key, terms.own)
        scores, of_shape = jax.vjp(lambda pairs, terms: self._shaped(pairs, terms, unit, slab, visible), pairs, terms)

        def pullback(of_scores: Array) -> tuple[Array, Array, Terms]:
            of_pairs, of_terms = of_shape(of_scores)
            of_query, of_key, of_own = of_pair(of_pairs)
            return of_query, of_key, replace(of_terms, own=of_own)

        return scores, pullback

    def _shaped(self, pairs: Array, terms: Terms, unit: Unit, slab: Slab, visible: Array | None) -> Array:
        floats, others = iter(terms.captures), iter(self.fixed.captures)
        captures = tuple(next(floats if is_float else others) for is_float in self.plan.floating)
        place = self._place(unit, slab)
        return shaped(self.plan.scorer, pairs, replace(terms, captures=captures), place, visible)

    def kept(self, weights: Array, unit: Unit, slab: Slab) -> Array:
        """Returns the weights after dropout, [1, G, t, s]."""
        return dropout.dropped(weights, self.fixed.rng, self.plan.dropout_rate, self._place(unit, slab))

    def _place(self, unit: Unit, slab: Slab) -> Place:
        sequence, head = self.fixed.origin
        heads = head + unit.heads.first + jnp.arange(self.groups)
        return Place((sequence + unit.batch)[None], heads, unit.axis.position, slab.axis.position)


def _added(array: Array, tile: Array, place: tuple[Array | int, ...]) -> Array:
    tile = tile + _cut(array, place, tile.shape)
    return _put(array, tile, place)


def _part(axis: Axis, sequence: Int[Array, ""], starts: list[Array], size: int) -> Axis:
    """The runs of `size` tokens from each start, of one sequence."""
    position = rows(axis.position, Run(sequence, 1))
    index = jnp.concatenate([_cut(axis.index, (start,), (size,)) for start in starts])
    position = jnp.concatenate([_cut(position, (0, start), (position.shape[0], size)) for start in starts], axis=1)
    # The barrier keeps XLA from looking every position up again for each pair.
    return jax.lax.optimization_barrier(Axis(index, position))


def _dot(query: Array, key: Array, dtype: jnp.dtype) -> Array:
    """What `dot` gives for queries [1, t, G, P] and keys [1, s, k, P]."""
    return products.with_keys(query.swapaxes(1, 2), key, dtype)


def _dot_pullback(query: Array, key: Array, of_pairs: Array) -> tuple[Array, Array, dict[str, Array]]:
    """What `jax.vjp(dot, ...)` gives."""
    dtype = of_pairs.dtype
    of_pairs = of_pairs.astype(widest(query.dtype, key.dtype))
    of_query = products.over_keys(of_pairs, key, dtype)
    of_key = products.over_queries(of_pairs, query.swapaxes(1, 2), dtype, kv_heads=key.shape[2])
    return of_query.swapaxes(1, 2), of_key, {}
