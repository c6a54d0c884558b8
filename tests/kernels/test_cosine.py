"""Cosine attention at the ends of its range: the largest temperature, and a vector without a direction."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.kernels import attend

TOKENS = jax.random.normal(jax.random.key(0), (1, 4, 2, 8))
# Nearly parallel, so that a softmax of 100 times their cosines still tells two temperatures apart.
ALIKE = 1 + 0.1 * TOKENS


@jax.jit
def cosine(query, log_beta):
    return attend(query, ALIKE, TOKENS, variant="cosine", params={"log_beta": jnp.full(2, log_beta)}).out


def test_beta_is_at_most_100_as_in_the_paper():
    at_most, below = cosine(ALIKE, np.log(100.0)), cosine(ALIKE, np.log(50.0))
    np.testing.assert_array_equal(cosine(ALIKE, np.log(1e4)), at_most)
    assert np.abs(at_most - below).max() > 0.01


def test_a_zero_vector_sees_all_alike_and_has_a_finite_gradient():
    zero = TOKENS.at[:, 0].set(0)
    np.testing.assert_allclose(cosine(zero, 1.0)[:, 0], TOKENS.mean(1), rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda query: cosine(query, 1.0).sum())(zero)).all()
