"""The cache: what it holds, what it refuses, and that a sequence that does not fit is never written over another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import (
    Causal,
    Global,
    KeyValueCache,
    PrefixLM,
    Refused,
    Sizes,
    Window,
    attend,
    attend_cached,
)

WIDTHS = Sizes(heads=4, kv_heads=2, query=4, key=4, value=3)
RNG = np.random.default_rng(0)


def cached(capacity=6, **arguments):
    return KeyValueCache.empty(WIDTHS, batch=2, capacity=capacity, **arguments)


def tokens(count, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((4, 4), (2, 4), (2, 3))
    return [jnp.asarray(rng.normal(size=(2, count, *shape)), jnp.float32) for shape in shapes]


@functools.partial(jax.jit, static_argnames="outputs")
def step(arrays, cache, mask=None, new_lengths=None, outputs=("out",)):
    mask = Causal() if mask is None else mask
    return attend_cached(*arrays, cache, mask=mask, new_lengths=new_lengths, outputs=outputs)


def test_an_empty_cache_has_the_shapes_and_the_dtype_it_was_asked_for():
    cache = cached(dtype=jnp.bfloat16)
    assert (cache.key.shape, cache.value.shape) == ((2, 2, 6, 4), (2, 2, 6, 3))
    assert (cache.key.dtype, cache.value.dtype, cache.length.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.int32)
    assert cache.length.tolist() == [0, 0]


def test_the_cache_holds_the_tokens_in_their_order_and_nothing_else_changes():
    cache = cached()
    first, second = tokens(2), tokens(3, seed=1)
    _, cache = attend_cached(*first, cache, mask=Causal())
    _, cache = attend_cached(*second, cache, mask=Causal())
    assert cache.length.tolist() == [5, 5]
    for held, old, new in zip((cache.key, cache.value), first[1:], second[1:], strict=True):
        np.testing.assert_array_equal(
            held.swapaxes(1, 2), np.concatenate([old, new, np.zeros_like(old[:, :1])], axis=1)
        )


@pytest.mark.parametrize("count", [5, 9])
def test_tokens_that_do_not_fit_are_refused_and_named(count):
    _, cache = attend_cached(*tokens(2), cached(), mask=Causal())
    with pytest.raises(Refused, match=r"do not fit a cache with capacity=6: create a larger one"):
        attend_cached(*tokens(count), cache, mask=Causal())


def test_more_tokens_than_the_capacity_are_refused_under_jit_too():
    with pytest.raises(Refused, match="7 tokens do not fit a cache with capacity=6"):
        step(tokens(7), cached())


def test_under_jit_a_sequence_that_overflows_is_nan_and_keeps_what_it_held():
    _, cache = step(tokens(4), cached(), new_lengths=jnp.array([4, 1]))
    result, after = step(tokens(3, seed=1), cache, outputs=("out", "weights", "lse"))
    for array in (result.out, result.weights, result.lse):
        assert np.isnan(array[0]).all()
        assert np.isfinite(array[1]).all()
    np.testing.assert_array_equal(after.length, [4, 4])
    np.testing.assert_array_equal(after.key[0], cache.key[0])
    np.testing.assert_array_equal(after.value[0], cache.value[0])
    np.testing.assert_array_equal(after.key[1, :, 1:4], tokens(3, seed=1)[1][1].swapaxes(0, 1))


@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_number_of_new_tokens_that_cannot_be(wrong):
    with pytest.raises(Refused, match=rf"new_lengths=\[{wrong}, 3\] are of 3 tokens each: give 0 to 3"):
        attend_cached(*tokens(3), cached(), mask=Causal(), new_lengths=np.array([wrong, 3]))
    result, cache = step(tokens(3), cached(), new_lengths=jnp.array([wrong, 3]))
    assert np.isnan(result.out[0]).all()
    assert np.isfinite(result.out[1]).all()
    np.testing.assert_array_equal(cache.length, [0, 3])


def test_a_chunk_longer_than_the_capacity_fits_when_its_tokens_do():
    arrays = tokens(8)
    result, cache = attend_cached(*arrays, cached(), mask=Causal(), new_lengths=np.array([6, 2]))
    whole = attend(*(array[:, :6] for array in arrays), mask=Causal()).out
    np.testing.assert_allclose(result.out[0, :6], whole[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.out[1, :2], whole[1, :2], rtol=1e-5, atol=1e-6)
    assert (result.out[1, 2:] == 0).all()
    assert cache.length.tolist() == [6, 2]


@pytest.mark.parametrize(
    "mask", [Window(3), Global(1), Causal() | Global(1), np.ones((2, 6), bool), PrefixLM(1) | Window(2)]
)
def test_a_mask_that_shows_tokens_to_come_is_refused(mask):
    with pytest.raises(Refused, match=r"shows a query tokens after it.*give Causal\(\) & the mask"):
        attend_cached(*tokens(2), cached(), mask=mask)


@pytest.mark.parametrize("mask", [PrefixLM(3), PrefixLM(np.array([2, 3])) & Window(4), PrefixLM(3) | Causal()])
def test_a_prefix_is_written_in_one_call(mask):
    with pytest.raises(Refused, match=r"shows a prefix of which the cache holds only \[2, 2\] tokens with these"):
        attend_cached(*tokens(2), cached(), mask=mask)
    assert np.isnan(step(tokens(2), cached(), mask)[0].out[1]).all()
    assert np.isfinite(step(tokens(3), cached(), mask)[0].out).all()
    # Behind a causal mask there is nothing to wait for.
    assert np.isfinite(attend_cached(*tokens(2), cached(), mask=mask & Causal())[0].out).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([array[:1] for array in tokens(2)], r"key has shape \(1, 2, 2, 4\), but the cache holds \[2, tokens, 2, 4\]"),
        ([*tokens(2)[:2], tokens(2)[1]], r"value has shape \(2, 2, 2, 4\), but the cache holds \[2, tokens, 2, 3\]"),
        ([tokens(3)[0], *tokens(2)[1:]], r"query \(2, 3, 4, 4\) and key \(2, 2, 2, 4\) are not of the same"),
        ([*tokens(2)[:2], tokens(3)[2]], r"query \(2, 2, 4, 4\) and value \(2, 3, 2, 3\) are not of the same"),
        ([array.astype(jnp.bfloat16) for array in tokens(2)], "key is bfloat16, but the cache holds float32: cast"),
    ],
)
def test_tokens_that_are_not_of_this_cache_are_refused(arrays, message):
    with pytest.raises(Refused, match=message):
        attend_cached(*arrays, cached(), mask=Causal())


@pytest.mark.parametrize(
    ("new_lengths", "way_out"),
    [
        (np.array([1]), r"give int \[2\]"),
        (np.array([1.0, 2.0]), "are float64: give whole numbers"),
        (np.array([1, 2**40]), "reach 1099511627776, outside of int32: give smaller numbers"),
    ],
)
def test_new_lengths_are_one_whole_number_for_each_sequence(new_lengths, way_out):
    with pytest.raises(Refused, match=f"new_lengths .*{way_out}"):
        attend_cached(*tokens(2), cached(), mask=Causal(), new_lengths=new_lengths)


def test_a_cache_without_room_or_sequences_is_refused():
    with pytest.raises(Refused, match="the cache has capacity=0: it needs at least 1"):
        cached(capacity=0)
    with pytest.raises(Refused, match="the cache has batch=0: it needs at least 1"):
        KeyValueCache.empty(WIDTHS, batch=0, capacity=1)


def test_a_step_scans_and_maps():
    arrays = tokens(6)
    each = [jnp.swapaxes(array, 0, 1)[:, :, None] for array in arrays]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def decode(scale, seed):
        def advance(cache, token):
            result, cache = attend_cached(token[0] * scale, *token[1:], cache, mask=Causal())
            return cache, result.out

        cache, outs = jax.lax.scan(advance, cached(), [each[0] * seed, *each[1:]])
        return cache.length, jnp.swapaxes(outs[:, :, 0], 0, 1)

    lengths, outs = decode(2.0, jnp.array([1.0, 0.5]))
    np.testing.assert_array_equal(lengths, [[6, 6], [6, 6]])
    for factor, out in zip((2.0, 1.0), outs, strict=True):
        whole = attend(arrays[0] * factor, *arrays[1:], mask=Causal()).out
        np.testing.assert_allclose(out, whole, rtol=1e-5, atol=1e-6)


def test_a_donated_cache_is_written_in_place():
    cache = cached(capacity=4096)
    compiled = jax.jit(attend_cached_causally, donate_argnums=1).lower(tokens(1), cache).compile()
    held = cache.key.nbytes + cache.value.nbytes
    assert compiled.memory_analysis().alias_size_in_bytes >= held
    _, after = compiled(tokens(1), cache)
    assert cache.key.is_deleted()
    np.testing.assert_array_equal(after.length, [1, 1])


def attend_cached_causally(arrays, cache):
    return attend_cached(*arrays, cache, mask=Causal())


def test_gradients_through_the_cache_are_those_of_one_pass():
    arrays = tokens(5)
    weighing = jnp.asarray(RNG.normal(size=(2, 5, 4, 3)), jnp.float32)

    def in_steps(arrays):
        cache, outs = cached(), []
        for start, end in ((0, 3), (3, 5)):
            result, cache = attend_cached_causally([array[:, start:end] for array in arrays], cache)
            outs.append(result.out)
        return (jnp.concatenate(outs, axis=1) * weighing).sum()

    def in_one(arrays):
        return (attend(*arrays, mask=Causal()).out * weighing).sum()

    for left, right in zip(jax.jit(jax.grad(in_steps))(arrays), jax.grad(in_one)(arrays), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
