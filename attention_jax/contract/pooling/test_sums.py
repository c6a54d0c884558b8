"""What is summed: by weights that are shares, in no order, each sequence apart; equal weights are the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, same_bits
from attention_jax.contract.pooling.cases import (
    CASES,
    REAL,
    WEIGHING,
    WIDTH,
    claims,
    make,
    pooled_and_gradients,
)
from attention_jax.kernels import pool

ORDER = np.array([4, 0, 6, 2, 5, 1, 3])
FREE = [case for case in CASES if claims(case[0]).order_free]
CONVEX = [case for case in CASES if claims(case[0]).convex]
EQUAL = [case for case in CASES if claims(case[0]).equal_at_zero is not None]


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_weights_are_shares_of_what_is_real(spec, with_query):
    weights = pooled_and_gradients(spec, make(spec, with_query), REAL, WEIGHING)[0].weights
    if weights is None:
        pytest.skip("it has no weights")
    assert (np.asarray(weights) >= 0).all()
    expected = np.broadcast_to(REAL.any(1)[:, None], weights.shape[:2])
    np.testing.assert_allclose(np.asarray(weights).sum(-1), expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(weights).swapaxes(1, 2)[~REAL], 0)


@pytest.mark.parametrize(("spec", "with_query"), CONVEX)
def test_each_row_is_the_mean_of_the_tokens_by_its_weights(spec, with_query):
    inputs = make(spec, with_query)
    pooled = pooled_and_gradients(spec, inputs, REAL, WEIGHING)[0]
    means = np.einsum("brt,btd->brd", *(np.asarray(array, float) for array in (pooled.weights, inputs.hidden)))
    assert error(pooled.out, means.reshape(pooled.out.shape)) < AGREEMENT


@pytest.mark.parametrize(("spec", "with_query"), FREE)
def test_the_order_of_the_tokens_does_not_matter(spec, with_query):
    inputs = make(spec, with_query)
    plain, gradients = pooled_and_gradients(spec, inputs, REAL, WEIGHING)
    moved = inputs._replace(hidden=inputs.hidden[:, ORDER])
    again, moved_gradients = pooled_and_gradients(spec, moved, REAL[:, ORDER], WEIGHING)
    assert error(again.out, plain.out) < AGREEMENT
    assert error(moved_gradients.hidden, gradients.hidden[:, ORDER]) < 2 * AGREEMENT
    if plain.weights is not None:
        np.testing.assert_allclose(again.weights, plain.weights[..., ORDER], atol=AGREEMENT)


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_sequences_do_not_see_each_other(spec, with_query):
    inputs = make(spec, with_query)
    plain = pooled_and_gradients(spec, inputs, REAL, WEIGHING)[0]
    other = make(spec, with_query, seed=1)
    mixed = inputs._replace(hidden=inputs.hidden.at[1:].set(other.hidden[1:]))
    if with_query:
        mixed = mixed._replace(query=inputs.query.at[1:].set(other.query[1:]))
    changed = pooled_and_gradients(spec, mixed, REAL, WEIGHING)[0]
    assert same_bits(jax.tree.map(lambda array: array[0], plain), jax.tree.map(lambda array: array[0], changed))


@pytest.mark.parametrize(("spec", "with_query"), EQUAL)
def test_arrays_of_zero_make_all_weights_equal_and_the_sum_the_mean(spec, with_query):
    inputs, zero = make(spec, with_query), claims(spec).equal_at_zero
    params = {name: jnp.zeros_like(array) if name in zero else array for name, array in inputs.params.items()}
    pooled = pooled_and_gradients(spec, inputs._replace(params=params), REAL, WEIGHING)[0]
    shares = REAL / np.maximum(REAL.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(pooled.weights, np.broadcast_to(shares[:, None], pooled.weights.shape), atol=1e-7)
    if claims(spec).convex:
        mean = np.tile(pool(inputs.hidden, mask=REAL).out, pooled.out.shape[1] // WIDTH)
        assert error(pooled.out, mean) < AGREEMENT
