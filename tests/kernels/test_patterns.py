"""Rules of a variant's own, each from its oracle pair by pair, in tiles of every size, where most is hidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    GRADIENT_AGREEMENT,
    Inputs,
    accepting,
    error,
    make,
    quick_jit,
    run,
)
from attention_jax.kernels import Causal, Padding, Refused, Sizes, SoftmaxScore, attend, lookup, names
from attention_jax.kernels.engines import blockwise, gather
from attention_jax.kernels.mask_algebra import Axis, Tiles
from attention_jax.kernels.variants.sparse.bigbird import random_blocks
from tests.oracle.equations import equation

GRID = (4, 16)
TOKENS = 64

# The spec, and whether a causal mask goes with it. Each hides half of the pairs and more, and has several blocks.
PATTERNS = {
    "sliding_window:window=8": True,
    "sliding_window:window=5,sinks=2": True,
    "strided:stride=7": True,
    "fixed:block=8,summaries=2": True,
    "bigbird:block=4,random=2": False,
    "bigbird:block=2,random=3,seed=5": False,
    "swin:window=4": False,
    "swin:window=4,shift=1": False,
    "swin:window=3,shift=2": False,
    "swin:window=5,shift=3,dimensions=1": False,
    "neighbourhood:window=3": False,
    "neighbourhood:window=9,dimensions=1": False,
}


def mask_of(spec):
    return Causal() if PATTERNS[spec] else None


def pairs(spec):
    """Who sees whom by the oracle, and by the mask of the caller."""
    within = np.tri(TOKENS, dtype=bool) if PATTERNS[spec] else np.ones((TOKENS, TOKENS), bool)
    seen = equation(spec).pairs(TOKENS, TOKENS, GRID) & within
    assert seen.sum() <= within.sum() / 2, "the case hides too little"
    return seen


def test_every_variant_of_scaled_dot_products_with_a_rule_of_its_own_is_here():
    mechanisms = {name: lookup(name).mechanism for name in names()}
    ruled = {name for name, of in mechanisms.items() if isinstance(of, SoftmaxScore) and of.mask and not of.arrays}
    assert {lookup(spec).name for spec in PATTERNS} == ruled


@pytest.mark.parametrize("spec", PATTERNS)
def test_who_sees_whom_and_its_cover_in_tiles_of_every_size(spec):
    axis = Axis(jnp.arange(TOKENS), jnp.arange(TOKENS)[None])
    own = lookup(spec).mechanism.own_mask(Sizes(4, 2, 8, 8, 5, TOKENS, GRID))
    alone = np.asarray(own.visible(axis, axis))[0, 0]
    np.testing.assert_array_equal(np.tril(alone) if PATTERNS[spec] else alone, pairs(spec))
    for query_size, key_size in ((4, 8), (16, 3), (24, 24)):
        some, every = (np.asarray(a)[0, 0] for a in own.cover(Tiles.of(axis, query_size), Tiles.of(axis, key_size)))
        for row, column in np.ndindex(some.shape):
            tile = alone[row * query_size : (row + 1) * query_size, column * key_size : (column + 1) * key_size]
            assert some[row, column] or not tile.any()
            assert tile.all() or not every[row, column]


@pytest.mark.parametrize("spec", PATTERNS)
def test_out_and_gradients_gathered_are_those_of_the_dense_engine_and_of_float64(spec, monkeypatch):
    expected, inputs = pairs(spec), make("scaled_dot", queries=TOKENS)
    weighing = np.random.default_rng(3).normal(size=(2, TOKENS, 4, 5))

    def ours(engine):
        def loss(inputs: Inputs):
            out = run(spec, inputs, mask=mask_of(spec), grid=GRID, engine=engine).out
            return (out * weighing).sum(), out

        (_, out), gradients = quick_jit(jax.value_and_grad(loss, has_aux=True))(inputs)
        return out, *gradients[:3]

    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(array, np.float64)) for array in inputs[:3]]

        def plain(query, key, value):
            key, value = (jnp.repeat(array, 2, axis=2) for array in (key, value))
            logits = jnp.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(8)
            weights = jax.nn.softmax(jnp.where(expected, logits, -jnp.inf))
            out = jnp.einsum("bnts,bsnv->btnv", weights, value)
            return (out * weighing).sum(), out

        (_, out), gradients = jax.value_and_grad(plain, argnums=(0, 1, 2), has_aux=True)(*exact)
    # Small tiles, so that there are many; a rule of strides has no blocks to gather.
    for name in ("QUERY_TILE", "KEY_TILE"):
        monkeypatch.setattr(gather, name, 8)
        monkeypatch.setattr(blockwise, name, 16)
    for engine in ("dense", "blockwise" if spec.startswith("strided") else "gather"):
        found = ours(engine)
        assert error(found[0], out) < AGREEMENT, engine
        assert all(error(a, b) < 2 * GRADIENT_AGREEMENT for a, b in zip(found[1:], gradients, strict=True)), engine


@pytest.mark.parametrize("count", range(1, 9))
def test_no_block_of_bigbird_counts_twice_and_small_lengths_see_all(count):
    axis = Axis(jnp.arange(count), jnp.arange(count)[None])
    own = lookup("bigbird:block=1,random=2,seed=1").mechanism.own_mask(Sizes(4, 2, 8, 8, 5, count))
    chosen = np.asarray(own.visible(axis, axis))[0, 0]
    assert chosen[[0, -1]].all()
    assert chosen[:, [0, -1]].all()
    for row in range(1, count - 1):
        near = {0, count - 1, row - 1, row, row + 1}
        assert near <= set(np.flatnonzero(chosen[row]))
        assert chosen[row].sum() == min(count, len(near) + 2)


def test_the_random_blocks_of_a_seed_stay_the_same_for_a_model_that_was_trained_on_them():
    picked = random_blocks(12, 2, 0)
    assert np.sort(picked[1:4]).tolist() == [[8, 9], [4, 8], [7, 8]]
    assert (random_blocks(12, 2, 1) != picked).any()


def temporary_bytes(spec, tokens, mask):
    arrays = [jax.ShapeDtypeStruct((1, tokens, 2, 16), jnp.float32)] * 3

    def loss(*arrays):
        return attend(*arrays, variant=spec, mask=mask, grid=(tokens // 64, 64)).out.sum()

    lowered = quick_jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("spec", "mask"),
    [
        ("strided:stride=64", Causal()),
        ("fixed:block=64,summaries=8", Causal()),
        ("sliding_window:window=64,sinks=4", Causal()),
        ("bigbird:block=32", None),
        ("swin:window=8,shift=4", None),
        ("neighbourhood:window=7", None),
    ],
)
def test_memory_is_linear(spec, mask):
    at = [temporary_bytes(spec, tokens, mask) for tokens in (1024, 2048, 4096)]
    assert at[1] < 2.3 * at[0]
    assert at[2] < 2.3 * at[1]


@pytest.mark.parametrize(
    ("spec", "grid", "message"),
    [
        ("sliding_window:sinks=-1", None, r"sliding_window:sinks=-1 counts the first positions .* give 0 or more"),
        ("swin:window=5", GRID, r"swin:window=5 is larger than the grid of 4 x 16 tokens: give at most 4, or variant"),
        ("neighbourhood:window=5", GRID, r"neighbourhood:window=5 is larger than the grid of 4 x 16"),
        ("swin:window=65,dimensions=1", None, r"swin:window=65 is larger than the sequence of 64 tokens"),
        ("neighbourhood:window=65,dimensions=1", None, r"neighbourhood:window=65 is larger than the sequence"),
        ("swin:window=4", None, r"no grid is given: give .*grid=\(rows, columns\)\), .* or swin:dimensions=1"),
        ("neighbourhood:window=3", None, r"neighbourhood goes by rows and columns, and no grid is given"),
        ("swin:window=4,shift=4", GRID, r"swin:shift=4 does not lie within a window of 4: give 0 to 3"),
        ("swin:window=0", GRID, r"swin:window=0 has no place in it: give at least 1"),
        ("swin:dimensions=3", GRID, r"swin:dimensions=3 is neither 2, of a grid, nor 1, of a sequence"),
        ("neighbourhood:window=4", GRID, r"neighbourhood:window=4 has no middle for the query: give an odd number"),
        ("neighbourhood:window=-1", GRID, r"neighbourhood:window=-1 has no place"),
        ("bigbird:block=0", None, r"bigbird:block=0,random=3,seed=0 chooses no blocks"),
        (
            "bigbird:block=7",
            None,
            r"bigbird:block=7 does not divide a sequence of 64 tokens: give a block that does",
        ),
        ("strided:stride=0", None, r"strided:stride=0 goes nowhere"),
        ("fixed:block=4,summaries=5", None, r"fixed:summaries=5 is not within a block of 4"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(spec, grid, message):
    inputs = make("scaled_dot", queries=TOKENS)
    with pytest.raises(Refused, match=message) as refusal:
        attend(*inputs[:3], variant=spec, grid=grid)
    assert "\n" not in str(refusal.value)


def test_a_window_with_sinks_is_gathered_and_equals_the_dense_engine():
    spec, inputs = "sliding_window:window=8,sinks=2", make("scaled_dot", batch=1, queries=300)
    assert "gather" in accepting(spec, inputs, mask=Causal())
    gathered, dense = (run(spec, inputs, mask=Causal(), engine=engine).out for engine in ("gather", "dense"))
    assert error(gathered, dense) < AGREEMENT


def test_a_grid_of_other_tokens_is_refused_in_one_line():
    inputs = make("scaled_dot", queries=TOKENS)
    with pytest.raises(Refused, match=r"grid=\(5, 16\) has 80 places for 64 queries and 64 keys"):
        attend(*inputs[:3], variant="swin:window=4", grid=(5, 16))


def test_a_pattern_joins_the_masks_of_the_caller():
    inputs, spec = make("scaled_dot", queries=TOKENS), "neighbourhood:window=3"
    segment = np.arange(TOKENS) // 24
    lengths = np.array([64, 30])
    seen = equation(spec).pairs(TOKENS, TOKENS, GRID) & (segment[:, None] == segment[None])
    seen = seen[None] & (np.arange(TOKENS) < lengths[:, None])[:, None]
    whole = jnp.asarray(np.broadcast_to(seen[:, None], (2, 4, TOKENS, TOKENS)))
    found = run(spec, inputs, mask=Padding(lengths), segments=np.stack([segment] * 2), grid=GRID).out
    assert error(found, run("scaled_dot", inputs, mask=whole).out) < AGREEMENT
