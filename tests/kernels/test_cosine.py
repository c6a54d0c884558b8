"""Cosine attention at the ends of its range: the largest temperature, and a vector without a direction."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.kernels import attend

TOKENS = jax.random.normal(jax.random.key(0), (1, 4, 2, 8))


@jax.jit
def cosine(query, log_beta):
    return attend(query, TOKENS, TOKENS, variant="cosine", params={"log_beta": jnp.full(2, log_beta)}).out


def test_beta_is_at_most_100_as_in_the_paper():
    np.testing.assert_array_equal(cosine(TOKENS, np.log(1e4)), cosine(TOKENS, np.log(100.0)))
    assert (jax.grad(lambda log_beta: cosine(TOKENS, log_beta).sum())(np.log(1e4)) == 0).all()


def test_a_zero_vector_sees_all_alike_and_has_a_finite_gradient():
    zero = TOKENS.at[:, 0].set(0)
    np.testing.assert_allclose(cosine(zero, 1.0)[:, 0], TOKENS.mean(1), rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda query: cosine(query, 1.0).sum())(zero)).all()
