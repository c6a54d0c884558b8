"""Every engine against the float64 oracle: how far rounding may take it, in each dtype, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    ROUNDING,
    doubled,
    error,
    like_output,
    make,
    one_way,
    out_and_gradients,
    qualified,
    quick_jit,
    reference_engine,
    run_compiled,
    widely,
)
from tests.contract.known import KNOWN, NAIVE
from tests.oracle.equations import equation
from tests.oracle.loops import naive, oracle

OPTIONS = ["scaled_dot:scale=1.0", "sliding_window:window=1"]
SIZE = {"batch": 1, "queries": 33, "heads": 2}
# Of an array of one number for each head, one gradient is one draw of the rounding, and may be exact by chance.
WEIGHINGS = range(8)


def seen_by(spec, tokens):
    """The tokens that each query sees: those up to its own, or all where there is no causal form."""
    return np.tri(tokens, k=tokens if one_way(spec) is None else 0, dtype=bool)


@functools.cache
def in_float64(spec, dtype):
    """The output in float64, at the inputs that `dtype` can hold."""
    inputs = make(spec, **SIZE, dtype=dtype)
    with jax.enable_x64(True):
        return np.asarray(run_compiled(spec, doubled(inputs), reference_engine(spec), mask=one_way(spec)).out)


def all_gradients(spec, inputs, engine):
    """The gradients of the output weighed in several ways, each array [weighing, ...]."""
    each = (
        out_and_gradients(spec, inputs, like_output(inputs, seed), mask=one_way(spec), engine=engine)[1]
        for seed in WEIGHINGS
    )
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *each)


def run_naive(spec, inputs):
    return naive(equation(spec), *inputs, visible=seen_by(spec, inputs.query.shape[1]))


def errors(result, against):
    return [error(a, b) for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(against), strict=True)]


@pytest.mark.parametrize("spec", KNOWN + OPTIONS)
def test_float64_equals_the_oracle(spec):
    inputs = make(spec, **SIZE)
    sees = seen_by(spec, 33)
    expected = oracle(equation(spec), *inputs, visible=np.broadcast_to(sees, (1, 2, 33, 33))).out
    assert error(in_float64(spec, jnp.float32), expected) < 1e-10
    if "recurrence" in qualified(spec, inputs, mask=one_way(spec)):
        with jax.enable_x64(True):
            out = run_compiled(spec, doubled(inputs), "recurrence", mask=one_way(spec)).out
        assert error(out, expected) < 1e-10


@pytest.mark.parametrize("spec", widely(NAIVE))
def test_float32_equals_the_oracle_at_129_tokens(spec):
    inputs = make(spec, batch=1, queries=129, heads=2)
    expected = oracle(equation(spec), *inputs, visible=np.broadcast_to(seen_by(spec, 129), (1, 2, 129, 129))).out
    for engine in qualified(spec, inputs, mask=one_way(spec)):
        found = error(run_compiled(spec, inputs, engine, mask=one_way(spec)).out, expected)
        # One of several steps a token has rounded so many times as often.
        assert found < ROUNDING or found <= 2 * error(run_naive(spec, inputs), expected), engine


@pytest.mark.parametrize("spec", NAIVE)
def test_bfloat16_is_within_twice_the_rounding_of_the_naive_implementation(spec):
    inputs, exact = make(spec, **SIZE, dtype=jnp.bfloat16), in_float64(spec, jnp.bfloat16)
    theirs = error(quick_jit(lambda inputs: run_naive(spec, inputs))(inputs), exact)
    for engine in qualified(spec, inputs, mask=one_way(spec)):
        out = run_compiled(spec, inputs, engine, mask=one_way(spec)).out
        assert out.dtype == jnp.bfloat16
        assert error(out, exact) <= 2 * theirs, engine


@pytest.mark.parametrize("spec", widely(NAIVE))
def test_gradients_in_bfloat16_are_within_thrice_the_rounding_of_the_naive_implementation(spec):
    inputs = make(spec, **SIZE, dtype=jnp.bfloat16)
    with jax.enable_x64(True):
        exact = all_gradients(spec, doubled(inputs), reference_engine(spec))
    weighings = jnp.asarray(np.stack([like_output(inputs, seed) for seed in WEIGHINGS]), jnp.bfloat16)
    naively = quick_jit(lambda i, w: jax.vmap(jax.vjp(lambda i: run_naive(spec, i), i)[1])(w)[0])(inputs, weighings)
    for engine in qualified(spec, inputs, mask=one_way(spec)):
        ours, theirs = errors(all_gradients(spec, inputs, engine), exact), errors(naively, exact)
        assert all(own <= 3 * other for own, other in zip(ours, theirs, strict=True)), engine
