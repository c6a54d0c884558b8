"""The mean of a sequence: of its real tokens alone, and 0 where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.layers import mean_of_tokens
from tests.layers.arrays import normal

HIDDEN = normal(4, 5, 3)
LENGTHS = jnp.array([5, 2, 0, 1])


def test_it_is_that_of_numpy_over_the_real_tokens_and_zero_over_none():
    found = np.asarray(jax.jit(mean_of_tokens)(HIDDEN, lengths=LENGTHS))
    for row, length in enumerate(LENGTHS):
        expected = np.asarray(HIDDEN)[row, :length].mean(axis=0) if length else np.zeros(3)
        np.testing.assert_allclose(found[row], expected, rtol=1e-6)
    np.testing.assert_array_equal(mean_of_tokens(HIDDEN), HIDDEN.mean(axis=1))


def test_no_gradient_goes_to_padding_and_the_others_have_their_share():
    gradient = jax.jit(jax.grad(lambda hidden: mean_of_tokens(hidden, lengths=LENGTHS).sum()))(HIDDEN)
    shares = np.where(np.arange(5) < LENGTHS[:, None], 1 / np.maximum(LENGTHS, 1)[:, None], 0)
    np.testing.assert_allclose(gradient, np.repeat(shares[..., None], 3, axis=2), rtol=1e-6)


@pytest.mark.parametrize("lengths", [None, jnp.array([4000])])
def test_a_long_sequence_in_bfloat16_is_summed_wider(lengths):
    hidden = jnp.full((1, 4000, 1), 0.1, jnp.bfloat16)
    mean = jax.jit(mean_of_tokens)(hidden, lengths=lengths)
    assert mean.dtype == jnp.bfloat16
    assert float(mean[0, 0]) == pytest.approx(0.1, rel=0.01)
