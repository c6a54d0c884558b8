"""A cache that keeps no more than a mask reaches: all that is computed with it is that of one pass over all tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import (
    Causal,
    Global,
    KeyValueCache,
    Padding,
    PrefixLM,
    Refused,
    Segments,
    Sizes,
    Window,
    attend,
    attend_cached,
    init,
    reach_of,
)
from attention_jax.kernels.mask_algebra import Reach

WIDTHS = Sizes(heads=4, kv_heads=2, query=8, key=8, value=3)
RNG = np.random.default_rng(0)
TOKENS, CAPACITY = 12, 16
ARRAYS = [
    jnp.asarray(RNG.normal(size=(2, TOKENS, heads, width)), jnp.float32) for heads, width in ((4, 8), (2, 8), (2, 3))
]
WINDOW = Causal() & Window(3)
REAL = RNG.random((2, CAPACITY)) < 0.7
# How many new tokens each sequence has in each call. A prompt is longer than what is kept; some calls bring none.
ONE_CALL, EACH = ((12, 12),), ((1, 1),) * 12
UNEQUAL = ((12, 5), (0, 1), (0, 1), (0, 4), (0, 1))
CHUNKS = ((4, 4), (1, 1), (4, 2), (3, 4), (0, 1))


def empty(reach, *, value=np.nan, capacity=CAPACITY):
    """A cache whose slots hold NaN, as memory that nobody has written may."""
    cache = KeyValueCache.empty(WIDTHS, batch=2, capacity=capacity, reach=reach)
    return jax.tree.map(lambda leaf: leaf if leaf.ndim == 1 else leaf + value, cache)


@functools.partial(quick_jit, static_argnames=("variant", "position_encoding", "outputs", "dropout_rate"))
def step(arrays, cache, mask, new_lengths, bias=None, **arguments):
    return attend_cached(*arrays, cache, mask=mask, new_lengths=new_lengths, bias=bias, **arguments)


def in_steps(cache, mask, split, *, bias=None, **arguments):
    """Returns the rows [2, TOKENS, ...] of one call after the other, and the cache after them."""
    out, before = np.full((2, TOKENS, 4, 3), np.inf, np.float32), np.zeros(2, int)
    for new in split:
        # Calls of a few sizes, so that few programs are compiled. What is no token is NaN.
        widest = next(size for size in (1, 4, TOKENS) if size >= max(new))
        places = before[:, None] + np.arange(widest)
        real = (np.arange(widest) < np.array(new)[:, None])[..., None, None]
        picked = np.minimum(places, TOKENS - 1)
        part = [jnp.where(real, jnp.take_along_axis(one, picked[..., None, None], axis=1), jnp.nan) for one in ARRAYS]
        own = None if bias is None else jnp.take_along_axis(bias, picked[:, None, :, None], axis=2)
        result, cache = step(part, cache, mask, jnp.asarray(new), own, **arguments)
        for row, count in enumerate(new):
            out[row, before[row] : before[row] + count] = result.out[row, :count]
        before += new
    assert before.tolist() == [TOKENS, TOKENS]
    return out, cache


def check(cache, mask, split, *, whole=None, bias=None, **arguments):
    chosen = arguments.get("variant", "scaled_dot"), arguments.get("position_encoding")
    trained, drawn = init(chosen[0], jax.random.key(0), WIDTHS, chosen[1])
    arguments["params"] = {**trained, **drawn}
    found, after = in_steps(cache, mask, split, bias=bias, **arguments)
    bias = None if bias is None else bias[..., :TOKENS]
    expected = attend(*ARRAYS, mask=mask if whole is None else whole, bias=bias, **arguments).out
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    return after


@pytest.mark.parametrize("split", [ONE_CALL, EACH, UNEQUAL, CHUNKS], ids=["one", "each", "unequal", "chunks"])
@pytest.mark.parametrize(
    ("mask", "slots", "arguments"),
    [
        (WINDOW, 3, {"position_encoding": "rope"}),
        (Causal(), 5, {"variant": "sliding_window:window=3,sinks=2", "position_encoding": "alibi"}),
        (WINDOW, 3, {"variant": "softcap:cap=2"}),
    ],
    ids=["rope", "sinks", "capped"],
)
def test_any_split_equals_one_pass(mask, slots, arguments, split):
    cache = empty(reach_of(mask, **arguments))
    assert cache.key.shape == (2, 2, slots, 8)
    after = check(cache, mask, split, **arguments)
    assert jax.tree.structure(after) == jax.tree.structure(cache)
    np.testing.assert_array_equal(after.length, [TOKENS, TOKENS])


@pytest.mark.parametrize("split", [CHUNKS, EACH], ids=["chunks", "each"])
@pytest.mark.parametrize(
    ("mask", "whole"),
    [
        (WINDOW & Padding(REAL), WINDOW & Padding(REAL[:, :TOKENS])),
        (WINDOW & Padding(np.array([11, 7])), None),
    ],
    ids=["flags", "lengths"],
)
def test_padding_by_position_hides_tokens_that_it_holds(mask, whole, split):
    check(empty(WINDOW.reach), mask, split, whole=whole)


def test_a_prefix_that_looks_ahead_within_its_window():
    mask = PrefixLM(np.array([4, 2])) & Window(3)
    check(empty(mask.reach), mask, CHUNKS)


def test_a_bias_counts_by_position():
    bias = jnp.asarray(RNG.normal(size=(2, 4, TOKENS, CAPACITY)), jnp.float32)
    check(empty(WINDOW.reach), WINDOW, CHUNKS, bias=bias)


def test_dropout_and_the_weights_are_those_of_one_pass():
    given = {"rng": jax.random.key(1), "dropout_rate": 0.5}
    check(empty(WINDOW.reach), WINDOW, CHUNKS, **given)
    _, cache = step([one[:, :8] for one in ARRAYS], empty(WINDOW.reach), WINDOW, jnp.array([8, 8]))
    result, _ = step([one[:, 8:] for one in ARRAYS], cache, WINDOW, jnp.array([4, 4]), outputs=("out", "weights"))
    whole = attend(*ARRAYS, mask=WINDOW, outputs=("out", "weights")).weights[:, :, 8:]
    assert result.weights.shape == (2, 4, 4, CAPACITY)
    np.testing.assert_allclose(result.weights[..., :TOKENS], whole, rtol=2e-5, atol=2e-6)
    assert (np.asarray(result.weights[..., TOKENS:]) == 0).all()


def test_what_does_not_fit_its_capacity_is_refused_or_nan_as_of_any_cache():
    _, cache = step([one[:, :8] for one in ARRAYS], empty(WINDOW.reach, capacity=10), WINDOW, jnp.array([8, 5]))
    part = [one[:, 8:] for one in ARRAYS]
    with pytest.raises(Refused, match=r"\[4, 4\] tokens after \[8, 5\] do not fit a cache with capacity=10"):
        attend_cached(*part, cache, mask=WINDOW)
    result, after = step(part, cache, WINDOW, jnp.array([4, 4]))
    assert np.isnan(result.out[0]).all()
    assert np.isfinite(result.out[1]).all()
    np.testing.assert_array_equal(after.length, [8, 9])
    np.testing.assert_array_equal(after.key[0], cache.key[0])


@pytest.mark.parametrize(
    ("mask", "arguments", "words"),
    [
        (Causal(), {}, "scaled_dot with Causal may look at keys that this cache has let go: it keeps the first 0"),
        (Causal() & Window(4), {}, "the first 0 and the last 3 tokens. Create it without reach, or with that of the"),
        (Causal() & (Window(3) | Global(1)), {}, "may look at keys that this cache has let go"),
        (WINDOW & np.ones((1, CAPACITY), bool), {}, r"scaled_dot with \(\(Causal & Window\) & Dense\) may look at"),
        (WINDOW & Segments(np.zeros((1, 1), int), np.zeros((1, CAPACITY), int)), {}, "& Segments.* may look at keys"),
        (WINDOW, {"variant": "local_p:window=1"}, "local_p:window=1 with .* may look at keys that this cache has let"),
    ],
)
def test_a_mask_that_may_show_what_the_cache_has_let_go_is_refused(mask, arguments, words):
    part = [one[:, :1] for one in ARRAYS]
    with pytest.raises(Refused, match=words) as refusal:
        attend_cached(*part, empty(WINDOW.reach), mask=mask, **arguments)
    assert "\n" not in str(refusal.value)


def test_a_narrower_mask_than_it_was_made_for_is_taken():
    check(empty(Reach(2, 4)), WINDOW, EACH)


def test_it_holds_as_many_bytes_as_its_slots_whatever_the_capacity():
    def held(capacity):
        cache = jax.eval_shape(lambda: KeyValueCache.empty(WIDTHS, batch=2, capacity=capacity, reach=Reach(1, 3)))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache))

    assert held(10) == held(10**6) == 4 * 2 * (4 * 2 * (8 + 3) + 1)
    # What has room for all keys keeps them all.
    assert held(4) == held(10)
    assert KeyValueCache.empty(WIDTHS, batch=2, capacity=4, reach=Reach(1, 3)).ring is None


def test_a_donated_ring_is_written_in_place_without_a_copy():
    # Many tiles of keys: the temporary arrays are of one.
    reach = Reach(0, 8192)
    cache = KeyValueCache.empty(WIDTHS, batch=2, capacity=16384, reach=reach)
    part = [one[:, :1] for one in ARRAYS]

    def advance(arrays, cache):
        return attend_cached(*arrays, cache, mask=Causal() & Window(8192))

    memory = jax.jit(advance, donate_argnums=1).lower(part, cache).compile().memory_analysis()
    held = cache.key.nbytes + cache.value.nbytes
    assert memory.alias_size_in_bytes >= held
    assert memory.temp_size_in_bytes < held / 4


def test_a_loop_carries_it():
    @jax.jit
    def decode(arrays):
        def advance(cache, token):
            result, cache = attend_cached(*(one[:, None] for one in token), cache, mask=WINDOW)
            return cache, result.out[:, 0]

        return jax.lax.scan(advance, empty(WINDOW.reach), [one.swapaxes(0, 1) for one in arrays])[1].swapaxes(0, 1)

    np.testing.assert_allclose(decode(ARRAYS), attend(*ARRAYS, mask=WINDOW).out, rtol=2e-5, atol=2e-6)
