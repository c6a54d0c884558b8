"""What a mask says of whole tiles is true of every pair in them, and of some rules it is all that can be said."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.kernels import Blocks, Causal, Padding, Segments, Window
from attention_jax.kernels.engines.tiling import TileSizes, tile_lists, tile_size
from attention_jax.kernels.mask_algebra import Axis, Run, Tiles, extreme
from tests.kernels.random_problems import RULES, TREES, Sizes, build

# Few sizes, since each compiles the operations once more.
SIZES = Sizes(batch=2, heads=2, queries=7, keys=9)
FULL = (SIZES.batch, SIZES.heads, SIZES.queries, SIZES.keys)
TILES = [(3, 2), (7, 4)]
# Of segments, `cover` compares ranges alone: [0, 2] may or may not hold a 1.
EXACT = sorted(set(RULES) - {"segments"})
SEEDS = st.integers(0, 2**16)
quick = settings(derandomize=True, deadline=None, database=None)


def axis(length, positions=None):
    positions = np.arange(length)[None] if positions is None else positions
    return Axis(jnp.arange(length), jnp.asarray(positions))


def axes(rng, positions):
    """The queries and the keys, in their order, or of each sequence in any."""
    if positions == "in order":
        return axis(SIZES.queries), axis(SIZES.keys)
    return tuple(
        axis(length, rng.integers(0, 12, size=(SIZES.batch, length))) for length in (SIZES.queries, SIZES.keys)
    )


def by_tile(seen, tiles, reduce):
    """`reduce` of who sees whom over each pair of tiles, [B, N, query tiles, key tiles]."""
    of_query, of_key = tiles
    starts = (range(0, SIZES.queries, of_query), range(0, SIZES.keys, of_key))
    found = [[reduce(seen[:, :, i : i + of_query, j : j + of_key], (2, 3)) for j in starts[1]] for i in starts[0]]
    return np.moveaxis(np.array(found), (2, 3), (0, 1))


def shown(mask, query, key):
    return np.broadcast_to(mask.visible(query, key), FULL)


def covered(mask, query, key, tiles):
    of_query, of_key = tiles
    some, every = mask.cover(Tiles.of(query, of_query), Tiles.of(key, of_key))
    shape = (*FULL[:2], -(-SIZES.queries // of_query), -(-SIZES.keys // of_key))
    return np.broadcast_to(some, shape), np.broadcast_to(every, shape)


@settings(quick, max_examples=40)
@given(
    tree=TREES,
    seed=SEEDS,
    positions=st.sampled_from(["in order", "in any order"]),
    tiles=st.sampled_from(TILES),
)
def test_a_tile_that_is_skipped_is_empty_and_one_that_is_not_checked_is_whole(tree, seed, positions, tiles):
    rng = np.random.default_rng(seed)
    mask = build(tree, rng, SIZES)
    query, key = axes(rng, positions)
    some, every = covered(mask, query, key, tiles)
    seen = shown(mask, query, key)
    assert not (by_tile(seen, tiles, np.any) & ~some).any()
    assert not (every & ~by_tile(seen, tiles, np.all)).any()


@pytest.mark.parametrize("rule", EXACT)
@pytest.mark.parametrize("tiles", TILES)
def test_of_one_rule_in_the_order_of_the_sequence_nothing_is_met_or_checked_in_vain(rule, tiles):
    rng = np.random.default_rng(0)
    for _ in range(10):
        mask = build(rule, rng, SIZES)
        query, key = axis(SIZES.queries), axis(SIZES.keys)
        some, every = covered(mask, query, key, tiles)
        seen = shown(mask, query, key)
        np.testing.assert_array_equal(some, by_tile(seen, tiles, np.any))
        np.testing.assert_array_equal(every, by_tile(seen, tiles, np.all))


def test_documents_that_are_packed_one_after_the_other_are_met_in_their_own_tiles_alone():
    ids = jnp.asarray([[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    tiles = Tiles.of(axis(9), 3)
    some, every = Segments(ids).cover(tiles, tiles)
    np.testing.assert_array_equal(some[0, 0], np.eye(3, dtype=bool))
    np.testing.assert_array_equal(every[0, 0], np.eye(3, dtype=bool))


@settings(quick, max_examples=40)
@given(tree=TREES, seed=SEEDS, sequence=st.integers(0, 1), head=st.integers(0, 1))
def test_the_rule_of_some_sequences_and_heads_is_a_part_of_the_rule(tree, seed, sequence, head):
    rng = np.random.default_rng(seed)
    mask, query, key = build(tree, rng, SIZES), axis(SIZES.queries), axis(SIZES.keys)
    part = mask.of(Run(jnp.asarray(sequence), 1), Run(jnp.asarray(head), 1)).visible(query, key)
    np.testing.assert_array_equal(
        np.broadcast_to(part, (1, 1, *FULL[2:]))[0, 0], shown(mask, query, key)[sequence, head]
    )
    whole = mask.of(Run(0, 2), Run(0, 2))
    np.testing.assert_array_equal(shown(whole, query, key), shown(mask, query, key))


def test_tiles_know_the_lowest_and_the_highest_of_each_and_the_last_may_be_short():
    tiles = Tiles.of(axis(5, [[4, 0, 3, 1, 2], [9, 9, 8, 7, 5]]), 2)
    assert tiles.size == 2
    np.testing.assert_array_equal(tiles.first, [0, 2, 4])
    np.testing.assert_array_equal(tiles.last, [1, 3, 4])
    np.testing.assert_array_equal(tiles.lowest, [[0, 1, 2], [9, 7, 5]])
    np.testing.assert_array_equal(tiles.highest, [[4, 3, 2], [9, 8, 5]])


def test_what_stands_in_a_short_tile_is_not_counted_with_what_is_not_there():
    array = jnp.asarray([[1, 2, -5], [0, 3, -4]])
    np.testing.assert_array_equal(extreme(array, 2, jnp.max), [[2, -5], [3, -4]])
    np.testing.assert_array_equal(extreme(array, 2, jnp.min, axis=0), [[0, 2, -5]])
    np.testing.assert_array_equal(extreme(array, 5, jnp.max), [[2], [3]])


@settings(quick, max_examples=100)
@given(length=st.integers(1, 5000), largest=st.integers(1, 700))
def test_tiles_are_as_equal_as_multiples_of_16_can_be(length, largest):
    size = tile_size(length, largest)
    assert 1 <= size <= min(length, largest)
    assert size % 16 == 0 or size in (length, largest)
    assert -(-length // size) == -(-length // min(length, largest)), "no more tiles than there must be"


def test_tile_sizes_by_example():
    assert tile_size(1024, 512) == 512
    assert tile_size(513, 512) == 272
    assert tile_size(100, 512) == 100
    assert tile_size(23, 5) == 5


def listed(mask, queries, keys, *, sizes, kv_heads=1):
    lists = tile_lists(mask, axis(queries), axis(keys), sizes=sizes, kv_heads=kv_heads)
    return tuple(np.asarray(array) for array in (lists.order, lists.whole, lists.met))


def test_whole_tiles_come_first_then_those_that_are_cut_then_those_that_are_empty():
    order, whole, met = listed(Causal() & Window(4), 8, 8, sizes=TileSizes(2, 2))
    np.testing.assert_array_equal(order[0, 0], [[0, 1, 2, 3], [0, 1, 2, 3], [1, 0, 2, 3], [2, 1, 3, 0]])
    np.testing.assert_array_equal(whole[0, 0], [0, 1, 1, 1])
    np.testing.assert_array_equal(met[0, 0], [1, 2, 3, 3])


def test_a_last_tile_that_is_short_is_one_that_is_cut_and_the_order_fills_its_slabs():
    order, whole, met = listed(None, 4, 7, sizes=TileSizes(4, 3, slab=2))
    np.testing.assert_array_equal(order[0, 0], [[0, 1, 2, 0]])
    assert (whole.item(), met.item()) == (2, 3)
    order, whole, met = listed(None, 4, 6, sizes=TileSizes(4, 3))
    np.testing.assert_array_equal(order[0, 0], [[0, 1]])
    assert (whole.item(), met.item()) == (2, 2)


def test_a_key_head_meets_what_any_of_its_query_heads_meets_and_checks_it_unless_all_see_it():
    chosen = np.zeros((1, 4, 1, 3), bool)
    chosen[0, 0, 0, 0] = chosen[0, 1, 0, :2] = True  # The heads of the first key head.
    chosen[0, 2:, 0, 2] = True
    order, whole, met = listed(Blocks(chosen, 4, 2), 4, 6, sizes=TileSizes(4, 2), kv_heads=2)
    np.testing.assert_array_equal(order[0, :, 0], [[0, 1, 2], [2, 0, 1]])
    np.testing.assert_array_equal(whole[0, :, 0], [1, 1])
    np.testing.assert_array_equal(met[0, :, 0], [2, 1])


def test_one_list_serves_all_sequences_and_heads_that_the_mask_does_not_tell_apart():
    lists = tile_lists(Padding(jnp.array([2, 6])), axis(4), axis(6), sizes=TileSizes(4, 2), kv_heads=2)
    assert lists.order.shape == (2, 1, 1, 3)
    found = [lists.at(*(jnp.asarray(i) for i in place))[2].item() for place in [(0, 0, 0), (0, 1, 0), (1, 1, 0)]]
    assert found == [1, 1, 3]
