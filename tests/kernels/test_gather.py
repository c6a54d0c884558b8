"""The gather engine: blocks at random, by content and in windows equal the dense engine, and only those chosen cost."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    GRADIENT_AGREEMENT,
    error,
    explained,
    like_output,
    make,
    quick_jit,
    run,
)
from attention_jax.contract.cases import same_bits as same
from attention_jax.kernels import Blocks, Causal, Global, Padding, PrefixLM, Refused, Window, lookup
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import gather
from attention_jax.kernels.engines.tiling import tile_lists
from tests.kernels.random_problems import Case, tiles, too_far

METERED = f"{Path(__file__).with_name('own_attention.py')}:metered"
BLOCK, TOKENS = 4, 40
LONG = {"length": (129, 129), "engine": "gather"}


@pytest.mark.parametrize(
    "case",
    [
        Case(mask=("&", "causal", "window"), score_mod=True, dropout_rate=0.3, seed=1, **LONG),
        Case(mask=("|", "window", "global"), bias=(False, True, True, False), seed=2, **LONG),
        Case(mask=("&", ("&", "causal", "window"), "dense"), bias=(True, True, True, True), seed=4, **LONG),
        Case(mask="window", dtype="bfloat16", heads=(2, 1), seed=3, **LONG),
        Case(engine="gather", mask=("&", ("&", "blocks", "blocks"), "real"), seed=5),
        Case(engine="gather", mask=("&", "blocks", "causal"), length=(7, 129), spec="cosine", dtype="bfloat16", seed=6),
    ],
    ids=lambda case: case.words,
)
def test_it_is_as_near_to_float64_as_the_dense_engine(case):
    assert not too_far(case)


def chosen_by_content(query, key, *, count):
    """MoBA (Lu et al. 2025), equations 5 and 6: the own block, and those of the past whose mean key fits best."""
    blocks = key.shape[1] // BLOCK
    means = key.reshape(key.shape[0], blocks, BLOCK, *key.shape[2:]).mean(2)
    fits = jnp.einsum("btnh,bcnh->bntc", query, jnp.repeat(means, query.shape[2] // key.shape[2], axis=2))
    own, block = jnp.arange(key.shape[1])[:, None] // BLOCK, jnp.arange(blocks)
    fits = jnp.where(block < own, fits, -jnp.inf)
    best, which = jax.lax.top_k(fits, count - 1)
    taken = jnp.any(jax.nn.one_hot(which, blocks, dtype=bool) & (best > -jnp.inf)[..., None], axis=-2)
    return taken | (block == own)


def mixture(query, key, value, chosen, engine):
    with tiles(16, 16, 12):
        mask = Causal() & Blocks(chosen, 1, BLOCK)
        return run(
            "scaled_dot", make("scaled_dot")._replace(query=query, key=key, value=value), mask=mask, engine=engine
        )


@functools.partial(quick_jit, static_argnames="engine")
def with_gradients(arrays, chosen, weighing, engine):
    """The output and its gradients; blocks are chosen by content, while it is differentiated, where none are given."""

    def total(query, key, value):
        choice = chosen_by_content(query, key, count=3) if chosen is None else chosen
        out = mixture(query, key, value, choice, engine).out
        return (out * weighing).sum(), out

    return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(*arrays)


def test_blocks_chosen_by_content_are_those_of_the_paper():
    inputs = make("scaled_dot", queries=TOKENS)
    chosen = np.asarray(chosen_by_content(*inputs[:2], count=3))
    query, key = (np.asarray(array, np.float64) for array in inputs[:2])
    for b, n, t in [(0, 0, 0), (0, 1, 5), (1, 2, 17), (1, 3, 39)]:
        own = t // BLOCK
        fits = [query[b, t, n] @ key[b, c * BLOCK : (c + 1) * BLOCK, n // 2].mean(0) for c in range(own)]
        assert set(np.flatnonzero(chosen[b, n, t])) == {own, *np.argsort(fits)[::-1][:2]}


def test_attention_to_blocks_chosen_by_content_equals_the_dense_engine_and_the_choice_has_no_gradient():
    inputs = make("scaled_dot", queries=TOKENS)
    weighing = like_output(inputs)
    of_gather, out = with_gradients(inputs[:3], None, weighing, "gather")
    of_dense, expected = with_gradients(inputs[:3], None, weighing, "dense")
    assert error(out, expected) < AGREEMENT
    for left, right in zip(of_gather, of_dense, strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT
    fixed = with_gradients(inputs[:3], chosen_by_content(*inputs[:2], count=3), weighing, "gather")
    assert same((of_gather, out), fixed)


def test_all_blocks_chosen_is_plain_causal_attention():
    inputs = make("scaled_dot", queries=TOKENS)
    weighing = like_output(inputs)
    every = jnp.ones((2, 4, TOKENS, TOKENS // BLOCK), bool)
    gradients, out = with_gradients(inputs[:3], every, weighing, "gather")
    assert error(out, run("scaled_dot", inputs, mask=Causal(), engine="dense").out) < AGREEMENT
    none_chosen, zero = with_gradients(inputs[:3], ~every, weighing, "gather")
    assert (np.asarray(zero) == 0).all()
    assert all((np.asarray(gradient) == 0).all() for gradient in none_chosen)
    assert all((np.asarray(gradient) != 0).any() for gradient in gradients)


def problem(mask, tokens=64, **arguments):
    inputs = make("scaled_dot", batch=1, queries=tokens)
    return checked(*inputs[:3], mask=mask, **arguments)


def random_blocks(seed, count):
    """For 4 heads of 64 tokens, [1, 4, 4, 16]: `count` of 16 blocks of keys for each of 4 blocks of queries."""
    ranks = np.argsort(np.random.default_rng(seed).random((1, 4, 4, 16)), axis=-1)
    return Blocks(ranks < count, 16, BLOCK)


@pytest.mark.parametrize("count", [1, 3])
def test_tiles_that_no_query_of_the_group_chose_are_not_met(count):
    mask = random_blocks(0, count)
    with tiles(16, 16, 12):
        asked = problem(mask)
        sizes = gather.sizes(asked)
    assert (sizes.query, sizes.key, sizes.slab) == (16, BLOCK, 3)
    lists = tile_lists(mask, asked.query_axis, asked.key_axis, sizes=sizes, kv_heads=2)
    by_group = np.asarray(mask.chosen).reshape(2, 2, 4, 16)
    np.testing.assert_array_equal(lists.met[0], by_group.any(1).sum(-1))
    np.testing.assert_array_equal(lists.whole[0], by_group.all(1).sum(-1))


@pytest.mark.parametrize(("mask", "slabs"), [(random_blocks(0, 2), None), (Causal() & Window(8), 4)])
def test_only_the_slabs_that_hold_a_chosen_tile_are_computed(mask, slabs):
    if slabs is None:
        met = np.asarray(mask.chosen).reshape(2, 2, 4, 16).any(1).sum(-1)
        slabs = int((-(-met // 3)).sum())
    meter = lookup(METERED).mechanism.pairwise
    inputs = make(METERED, batch=1, queries=64)
    before = meter.runs
    with tiles(32, 16, 12):
        out = quick_jit(lambda inputs: run(METERED, inputs, mask=mask, engine="gather").out)(inputs)
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert meter.runs - before == slabs
    assert error(out, run("scaled_dot", inputs, mask=mask, engine="dense").out) < AGREEMENT


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "the mask holds neither Blocks nor a narrow Window"),
        (Causal(), "the mask holds neither Blocks nor a narrow Window"),
        (PrefixLM(3) & Padding(np.array([9])), "the mask holds neither Blocks nor a narrow Window"),
        (Causal() | Window(2), "the mask holds neither Blocks nor a narrow Window"),
        (Window(2) | Blocks(np.ones((1, 1, 1, 1), bool), 64, 64), "the mask holds neither Blocks nor a narrow Window"),
        (Window(60), "the mask holds neither Blocks nor a narrow Window"),
    ],
)
def test_a_mask_that_leaves_nothing_to_gather_is_refused(mask, reason):
    inputs = make("scaled_dot", batch=1, queries=64)
    with tiles(32, 16, 12), pytest.raises(Refused, match=f"engine gather cannot run scaled_dot here: {reason}"):
        run("scaled_dot", inputs, mask=mask, engine="gather")
    said = {candidate.engine: candidate for candidate in explained("scaled_dot", inputs, mask=mask)}
    assert not said["gather"].qualified


@pytest.mark.parametrize(
    ("spec", "arguments", "reason"),
    [
        ("linear", {}, "it is for a softmax over scores"),
        ("scaled_dot", {"outputs": ("weights",)}, "it never holds all weights"),
    ],
)
def test_what_the_blockwise_engine_cannot_do_it_cannot(spec, arguments, reason):
    mask = Causal() & random_blocks(0, 2)
    with pytest.raises(Refused, match=f"engine gather cannot run {spec} here: {reason}"):
        run(spec, make(spec, batch=1, queries=64), mask=mask, engine="gather", **arguments)


@pytest.mark.parametrize(
    ("mask", "reach"),
    [
        (Window(5), 10),
        (Causal() & Window(5), 5),
        (Causal() & Padding(np.array([9])) & Window(5), 5),
        (Window(5) & Window(3), 6),
        (Causal() & (Window(5) | Global(2)), 5),
        (Causal() & Window(5) | Global(2), 5),
        (Window(4) | Window(6), 12),
    ],
)
def test_a_window_is_met_in_the_fewest_tiles_that_hold_it(mask, reach):
    with tiles(32, 16, 12):
        sizes = gather.sizes(problem(mask))
    assert (sizes.query, sizes.key) == (16, 16)
    assert sizes.slab == -(-(16 + reach - 1) // 16)


@pytest.mark.parametrize(("pairs", "heads"), [(0, 1), (2 * 16 * 32 - 1, 1), (4 * 16 * 32, 2), (2**19, 2)])
def test_as_many_key_heads_meet_at_once_as_the_pairs_allow(pairs, heads, monkeypatch):
    monkeypatch.setattr(gather, "PAIRS", pairs)
    with tiles(32, 16, 12):
        sizes = gather.sizes(problem(Causal() & Window(5)))
    assert (sizes.query, sizes.slab * sizes.key, sizes.heads) == (16, 32, heads)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (
            (1, 1, 4, 15),
            bool,
            r"Blocks has bool of shape \(1, 1, 4, 15\): 64 queries and 64 keys in blocks of 16 and 4",
        ),
        ((1, 3, 4, 16), bool, r"need bool \[1 or 1, 4 or 1, 4, 16\]"),
        ((4, 16), bool, r"Blocks has bool of shape \(4, 16\)"),
        ((1, 1, 4, 16), int, r"Blocks has int32 of shape"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(shape, dtype, message):
    with pytest.raises(Refused, match=message):
        problem(Blocks(np.ones(shape, dtype), 16, BLOCK))


@pytest.mark.parametrize("sizes", [(0, 4), (16, -1), (1.0, 4), (True, 4)])
def test_a_block_holds_at_least_one_token(sizes):
    with pytest.raises(Refused, match=r"Blocks\.(query|key)_block\(.*whole number of at least 1"):
        Blocks(np.ones((1, 1, 4, 16), bool), *sizes)
