"""Patterns by position, pair by pair from the paper, in tiles of every size, where most is hidden."""

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
from attention_jax.kernels import Causal, Refused, Sizes, attend, lookup
from attention_jax.kernels.mask_algebra import Axis, Tiles

TOKENS = 48


def by_rule(rule):
    return np.array([[rule(i, j) for j in range(TOKENS)] for i in range(TOKENS)])


# The spec, the mask of the caller, and who sees whom.
PATTERNS = {
    "strided:stride=7": (Causal(), by_rule(lambda i, j: j <= i and (i - j <= 7 or (i - j) % 7 == 0))),
    "sliding_window:window=5,sinks=2": (Causal(), by_rule(lambda i, j: j <= i and (i - j < 5 or j < 2))),
    "fixed:block=8,summaries=2": (Causal(), by_rule(lambda i, j: j <= i and (j // 8 == i // 8 or j % 8 in (6, 7)))),
}


def own_mask(spec):
    return lookup(spec).mechanism.own_mask(Sizes(4, 2, 8, 8, 5, TOKENS))


@pytest.mark.parametrize("spec", PATTERNS)
def test_who_sees_whom_and_its_cover_in_tiles_of_every_size(spec):
    mask, expected = PATTERNS[spec]
    axis = Axis(jnp.arange(TOKENS), jnp.arange(TOKENS)[None])
    own = own_mask(spec)
    whole = own if mask is None else mask & own
    seen = np.asarray(whole.visible(axis, axis))[0, 0]
    np.testing.assert_array_equal(seen, expected)
    within = np.tril(np.ones_like(seen)) if mask is not None else np.ones_like(seen)
    assert seen.sum() <= within.sum() * 0.62, "the case hides too little"
    alone = np.asarray(own.visible(axis, axis))[0, 0]
    for query_size, key_size in ((1, 1), (4, 8), (16, 3), (8, 7), (48, 5)):
        some, every = (np.asarray(a)[0, 0] for a in own.cover(Tiles.of(axis, query_size), Tiles.of(axis, key_size)))
        for row, column in np.ndindex(some.shape):
            tile = alone[row * query_size : (row + 1) * query_size, column * key_size : (column + 1) * key_size]
            assert some[row, column] or not tile.any()
            assert tile.all() or not every[row, column]


@pytest.mark.parametrize("spec", PATTERNS)
def test_out_and_gradients_are_those_of_plain_softmax_over_the_pairs_in_float64(spec):
    mask, expected = PATTERNS[spec]
    inputs = make("scaled_dot", queries=TOKENS)
    weighing = np.random.default_rng(3).normal(size=(2, TOKENS, 4, 5))

    def ours(engine):
        def loss(inputs: Inputs):
            return (run(spec, inputs, mask=mask, engine=engine).out * weighing).sum()

        return quick_jit(jax.value_and_grad(loss))(inputs)

    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(array, np.float64)) for array in inputs[:3]]

        def plain(query, key, value):
            key, value = (jnp.repeat(array, 2, axis=2) for array in (key, value))
            logits = jnp.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(8)
            weights = jax.nn.softmax(jnp.where(expected, logits, -jnp.inf))
            return (jnp.einsum("bnts,bsnv->btnv", weights, value) * weighing).sum()

        loss, gradients = jax.value_and_grad(plain, argnums=(0, 1, 2))(*exact)
    for engine in ("dense", None):
        out, found = ours(engine)
        assert abs(out - loss) <= 10 * AGREEMENT * abs(loss) + 1e-4
        assert all(error(a, b) < 2 * GRADIENT_AGREEMENT for a, b in zip(found[:3], gradients, strict=True))


def temporary_bytes(spec, tokens, mask):
    arrays = [jax.ShapeDtypeStruct((1, tokens, 2, 16), jnp.float32)] * 3

    def loss(*arrays):
        return attend(*arrays, variant=spec, mask=mask).out.sum()

    lowered = quick_jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays)
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("spec", "mask"),
    [
        ("strided:stride=64", Causal()),
        ("fixed:block=64,summaries=8", Causal()),
        ("sliding_window:window=64,sinks=4", Causal()),
    ],
)
def test_memory_is_linear(spec, mask):
    at = [temporary_bytes(spec, tokens, mask) for tokens in (1024, 2048, 4096)]
    assert at[1] < 2.3 * at[0]
    assert at[2] < 2.3 * at[1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("strided:stride=0", r"strided:stride=0 goes nowhere"),
        ("sliding_window:sinks=-1", r"sliding_window:sinks=-1 counts the first positions .* give 0 or more"),
        ("fixed:block=4,summaries=5", r"fixed:summaries=5 is not within a block of 4"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(spec, message):
    inputs = make("scaled_dot", queries=TOKENS)
    with pytest.raises(Refused, match=message) as refusal:
        attend(*inputs[:3], variant=spec)
    assert "\n" not in str(refusal.value)


def test_a_window_with_sinks_is_gathered_and_equals_the_dense_engine():
    spec, inputs = "sliding_window:window=8,sinks=2", make("scaled_dot", batch=1, queries=300)
    assert "gather" in accepting(spec, inputs, mask=Causal())
    gathered, dense = (run(spec, inputs, mask=Causal(), engine=engine).out for engine in ("gather", "dense"))
    assert error(gathered, dense) < AGREEMENT
