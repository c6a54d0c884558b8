"""Every engine against the float64 oracle: how far rounding may take it, in each dtype, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.kernels import Causal, Widths, init
from tests.contract.cases import (
    KNOWN,
    ROUNDING,
    SPECS,
    Inputs,
    error,
    like_output,
    make,
    out_and_gradients,
    qualified,
    quick_jit,
    reference_engine,
    run,
    run_compiled,
)
from tests.oracle.equations import equation
from tests.oracle.loops import naive, oracle

OPTIONS = ["scaled_dot:scale=1.0", "sliding_window:window=1"]
SIZE = {"batch": 1, "queries": 33, "heads": 2}
WIDTHS = Widths(2, 1, 2, 2, 1)
PAST = np.tri(33, dtype=bool)
# Of an array of one number for each head, one gradient is one draw of the rounding, and may be exact by chance.
WEIGHINGS = range(8)


@functools.cache
def in_float64(spec, dtype):
    """The output and the gradients in float64, at the inputs that `dtype` can hold, as NumPy arrays."""
    inputs = make(spec, **SIZE, dtype=dtype)
    with jax.enable_x64(True):
        return results(spec, doubled(inputs), reference_engine(spec))


def results(spec, inputs, engine):
    """The output, and the gradients of it weighed in several ways, [weighing, ...], as NumPy arrays."""
    arguments = {"mask": Causal(), "engine": engine, "compiled": True}
    each = [out_and_gradients(spec, inputs, like_output(inputs, seed), **arguments) for seed in WEIGHINGS]
    return each[0][0], jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *(g for _, g in each)
    )


def doubled(inputs):
    return jax.tree.map(lambda array: jnp.asarray(np.asarray(array, np.float64)), inputs)


@functools.cache
def naive_errors(spec):
    """How far the naive implementation in bfloat16 is from float64: the output, then each gradient."""
    inputs = make(spec, **SIZE, dtype=jnp.bfloat16)

    @quick_jit
    def run_naive(inputs, weighing):
        out, pullback = jax.vjp(lambda inputs: naive(equation(spec), *inputs, visible=PAST), inputs)
        return out, jax.vmap(pullback)(weighing)[0]

    weighings = jnp.asarray(np.stack([like_output(inputs, seed) for seed in WEIGHINGS]), jnp.bfloat16)
    return errors(run_naive(inputs, weighings), in_float64(spec, jnp.bfloat16))


def errors(result, against):
    return [error(a, b) for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(against), strict=True)]


@pytest.mark.parametrize("spec", KNOWN + OPTIONS)
def test_float64_equals_the_oracle(spec):
    inputs = make(spec, **SIZE)
    expected = oracle(equation(spec), *inputs, visible=np.broadcast_to(PAST, (1, 2, 33, 33))).out
    assert error(in_float64(spec, jnp.float32)[0], expected) < 1e-10
    if "recurrence" in qualified(spec, inputs, mask=Causal()):
        with jax.enable_x64(True):
            out = run_compiled(spec, doubled(inputs), "recurrence", mask=Causal()).out
        assert error(out, expected) < 1e-10


@pytest.mark.parametrize("spec", KNOWN)
def test_float32_equals_the_oracle_at_129_tokens(spec):
    inputs = make(spec, batch=1, queries=129, heads=2)
    expected = oracle(equation(spec), *inputs, visible=np.tri(129, dtype=bool)[None, None].repeat(2, axis=1)).out
    for engine in qualified(spec, inputs, mask=Causal()):
        assert error(run_compiled(spec, inputs, engine, mask=Causal()).out, expected) < ROUNDING, engine


@pytest.mark.parametrize("spec", KNOWN)
def test_bfloat16_is_within_twice_the_rounding_of_the_naive_implementation_and_thrice_for_gradients(spec):
    inputs = make(spec, **SIZE, dtype=jnp.bfloat16)
    for engine in qualified(spec, inputs, mask=Causal()):
        result = results(spec, inputs, engine)
        ours, theirs = errors(result, in_float64(spec, jnp.bfloat16)), naive_errors(spec)
        assert result[0].dtype == jnp.bfloat16
        assert ours[0] <= 2 * theirs[0], engine
        assert all(own <= 3 * other for own, other in zip(ours[1:], theirs[1:], strict=True)), engine


@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_of_both_orders_and_modes_equal_finite_differences(spec):
    """What `jax.test_util.check_grads(order=2)` checks, compiled once in place of seven times."""
    with jax.enable_x64(True):
        inputs = doubled(make(spec, batch=1, queries=3, heads=2, width=2, value_width=1))
        drawn = {name: inputs.params[name] for name in init(spec, jax.random.key(0), WIDTHS)[1]}
        trained = {name: array for name, array in inputs.params.items() if name not in drawn}
        start, unravel = ravel_pytree((*inputs[:3], trained, inputs.beside))
        direction, weighing = (jnp.asarray(np.random.default_rng(seed).normal(size=start.shape)) for seed in (0, 1))

        def loss(flat):
            *three, arrays, beside = unravel(flat)
            inputs = Inputs(*three, arrays | drawn, beside)
            out = run(spec, inputs, mask=Causal(), engine=reference_engine(spec)).out
            return out.ravel() @ weighing[: out.size]

        @quick_jit
        def derivatives(flat):
            gradient = jax.grad(loss)
            forward, over_reverse = (jax.jvp(of, (flat,), (direction,))[1] for of in (loss, gradient))
            reverse_over_reverse = jax.grad(lambda flat: gradient(flat) @ direction)(flat)
            return loss(flat), gradient(flat), forward, over_reverse, reverse_over_reverse

        ahead, behind = (derivatives(start + step * direction) for step in (1e-5, -1e-5))
        _, gradient, forward, over_reverse, reverse_over_reverse = derivatives(start)
        first, second = ((after - before) / 2e-5 for after, before in zip(ahead[:2], behind[:2], strict=True))
        reverse = gradient @ direction
    np.testing.assert_allclose([forward, reverse], [first, first], rtol=1e-6)
    np.testing.assert_allclose([over_reverse, reverse_over_reverse], [second, second], rtol=1e-6, atol=1e-7)
