"""The two products and their derivatives are those of the plain formulas, in either mode, at sizes of every engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels.matrices import products, weighted_mean

SIZES = [(1, 1, 1, 1, 1), (6, 2, 5, 5, 4), (2, 1, 3, 7, 8), (2, 2, 33, 16, 32)]


def plain_products(query, key, factor):
    return jnp.einsum("bkrh,bksh->bkrs", query, key)


def plain_mean(weights, value, total):
    return jnp.einsum("bkrs,bksh->bkrh", weights, value) / total


def drawn(sizes):
    batch, heads, rows, keys, width = sizes
    shapes = (rows, width), (keys, width), (rows, keys), (keys, width), (rows, 1)
    rng = np.random.default_rng(0)
    query, key, weights, value, total = (
        jnp.asarray(rng.random((batch, heads, *shape)), jnp.float32) for shape in shapes
    )
    return (query, key, jnp.ones((batch, heads, rows))), (weights, value, 1 + total)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("number", [0, 1], ids=["products", "weighted_mean"])
def test_values_and_derivatives_of_both_modes_are_those_of_the_formula(sizes, number):
    ours, plain = [(products, plain_products), (weighted_mean, plain_mean)][number]
    arrays = drawn(sizes)[number]
    tangents = [jnp.cos(3 * array) for array in arrays[:2]]

    def derivatives(function):
        def of_two(*two):
            return function(*two, arrays[2])

        def reverse(*two):
            out, pullback = jax.vjp(jax.jit(of_two), *two)
            return pullback(jnp.sin(out))

        forward = jax.jit(lambda *two: jax.jvp(of_two, two, tuple(tangents)))
        second = jax.jit(lambda *two: jax.jvp(reverse, two, tuple(tangents)))
        of_total = jax.grad(lambda third: function(*arrays[:2], third).sum())(arrays[2]) if number else ()
        return forward(*arrays[:2]), reverse(*arrays[:2]), second(*arrays[:2]), of_total

    for found, expected in zip(*(jax.tree.leaves(derivatives(one)) for one in (ours, plain)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_the_tangent_of_keys_is_that_before_they_were_multiplied():
    (query, key, _), _ = drawn((2, 1, 3, 7, 8))
    halves = jnp.full((2, 1, 3), 0.5)
    gradient = jax.grad(lambda key: products(query, key, halves).sum())(0.5 * key)
    plain = jax.grad(lambda key: plain_products(query, 0.5 * key, None).sum())(key)
    np.testing.assert_allclose(gradient, plain, rtol=1e-5)


def test_what_is_not_differentiated_is_not_multiplied():
    (query, key, factor), _ = drawn((2, 1, 3, 7, 8))
    _, pullback = jax.vjp(jax.jit(lambda query: products(query, key, factor)), query)
    assert str(jax.make_jaxpr(pullback)(jnp.ones((2, 1, 3, 7)))).count("dot_general") == 1
