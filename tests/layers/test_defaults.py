"""What we set in place of Flax's defaults, against the formulas."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Refused
from attention_jax.layers.defaults import activation, compute_dtype, gelu, gelu_tanh, norm

POINTS = jnp.linspace(-6.0, 6.0, 241)
DERIVATIVES = {
    "value": lambda f: f,
    "forward": jax.jacfwd,
    "reverse": jax.jacrev,
    "forward twice": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse twice": lambda f: jax.jacrev(jax.jacrev(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
}


GELUS = {gelu_tanh: partial(jax.nn.gelu, approximate=True), gelu: partial(jax.nn.gelu, approximate=False)}


@pytest.mark.parametrize("function", GELUS)
@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_each_gelu_and_its_derivatives_are_those_of_jax(derivative, function):
    with jax.enable_x64(True):
        points = jnp.asarray(POINTS, jnp.float64)
        ours, theirs = (
            jax.jit(jax.vmap(DERIVATIVES[derivative](each)))(points) for each in (function, GELUS[function])
        )
        assert ours.dtype == jnp.float64
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("function", GELUS)
def test_each_gelu_keeps_one_array_for_the_backward_pass(function):
    kept = jax.tree.leaves(jax.vjp(function, POINTS)[1])
    assert [array.shape for array in kept] == [POINTS.shape]


@pytest.mark.parametrize("function", GELUS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_each_gelu_stays_in_its_dtype(dtype, function):
    value, slope = jax.jvp(function, (POINTS.astype(dtype),), (jnp.ones_like(POINTS, dtype),))
    assert value.dtype == slope.dtype == dtype


def test_gelu_in_half_precision_is_exact_where_it_is_small():
    points = jnp.linspace(-3.0, -2.0, 11, dtype=jnp.bfloat16)
    np.testing.assert_allclose(gelu(points), gelu(points.astype(jnp.float32)), rtol=0.1)


def test_gelu_is_the_error_function_and_not_its_tanh_form():
    expected = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in np.asarray(POINTS, float)]
    np.testing.assert_allclose(gelu(POINTS), expected, rtol=0, atol=1e-6)
    assert float(jnp.abs(gelu(POINTS) - gelu_tanh(POINTS)).max()) > 1e-4


def test_activations_by_name():
    assert activation("gelu") is gelu
    assert activation("gelu_tanh") is gelu_tanh
    np.testing.assert_array_equal(activation("relu")(jnp.array([-1.0, 2.0])), [0.0, 2.0])
    with pytest.raises(Refused, match=r"^there is no activation 'gelu_tan'\. Did you mean 'gelu_tanh'\?$"):
        activation("gelu_tan")


@pytest.mark.parametrize(("options", "epsilon"), [({}, 1e-5), ({"epsilon": 0.5}, 0.5)])
def test_layer_norm_has_our_epsilon(options, epsilon):
    # A variance of the size of epsilon, so that it shows.
    inputs = np.array([[0.0, 0.004, -0.002, 0.006]], np.float32)
    layer = norm(dtype=jnp.float32, **options)
    out = layer.apply(layer.init(jax.random.key(0), inputs), inputs)
    expected = (inputs - inputs.mean()) / np.sqrt(inputs.var() + epsilon)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=0)


def test_compute_dtypes_by_name():
    assert compute_dtype("bfloat16") == jnp.bfloat16
    with pytest.raises(Refused, match=r"no compute dtype 'bfloat'\. Did you mean 'bfloat16'\?"):
        compute_dtype("bfloat")


def test_float64_is_refused_where_jax_would_take_float32():
    with pytest.raises(Refused, match=r"float64 would be computed in float32: set JAX_ENABLE_X64=1"):
        compute_dtype("float64")
