"""0 for a sequence without a real token; what is not real is not felt; what is real and not finite gives NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit, same_bits
from attention_jax.contract.pooling.cases import CASES, REAL, WEIGHING, make, pooled_and_gradients, run
from attention_jax.kernels import lookup_pooling

POISONS = (np.nan, np.inf, -np.inf, 1e30)


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_a_sequence_without_a_token_gives_zero_and_takes_no_part(spec, with_query):
    pooled, gradients = pooled_and_gradients(spec, make(spec, with_query), REAL, WEIGHING)
    empty = ~REAL.any(1)
    for leaf in jax.tree.leaves(pooled):
        np.testing.assert_array_equal(np.asarray(leaf)[empty], 0)
        assert np.isfinite(leaf).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    np.testing.assert_array_equal(np.asarray(gradients.hidden)[empty], 0)
    if with_query:
        np.testing.assert_array_equal(np.asarray(gradients.query)[empty], 0)
    unweighed = np.where(empty[:, None], 0, WEIGHING)
    assert same_bits(gradients, pooled_and_gradients(spec, make(spec, with_query), REAL, unweighed)[1])


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_what_is_not_real_is_not_felt_whatever_it_holds(spec, with_query):
    inputs = make(spec, with_query)
    clean = pooled_and_gradients(spec, inputs, REAL, WEIGHING)
    np.testing.assert_array_equal(np.asarray(clean[1].hidden)[~REAL], 0)
    for poison in POISONS:
        poisoned = inputs._replace(hidden=np.where(REAL[..., None], inputs.hidden, np.float32(poison)))
        assert same_bits(pooled_and_gradients(spec, poisoned, REAL, WEIGHING), clean), poison


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_a_real_token_that_is_not_finite_is_seen_in_its_sequence_alone(spec, with_query):
    inputs = make(spec, with_query)
    clean, _ = pooled_and_gradients(spec, inputs, REAL, WEIGHING)
    changes = [inputs._replace(hidden=inputs.hidden.at[0, 4, 1].set(poison)) for poison in POISONS[:3]]
    if with_query:
        changes += [inputs._replace(query=inputs.query.at[0, 2].set(poison)) for poison in POISONS[:3]]
    others = np.where(np.arange(len(REAL))[:, None] == 0, 0, WEIGHING)
    of_others = pooled_and_gradients(spec, inputs, REAL, others)[1]
    for changed in changes:
        pooled, found = pooled_and_gradients(spec, changed, REAL, others)
        careful = lookup_pooling(spec).made.careful
        assert not np.isfinite(pooled.out[0]).all()
        for leaf, before in zip(jax.tree.leaves(pooled), jax.tree.leaves(clean), strict=True):
            assert careful or np.isnan(leaf[0]).all()
            np.testing.assert_array_equal(leaf[1:], before[1:])
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)) or pooled.aux
        np.testing.assert_array_equal(found.hidden[1:], of_others.hidden[1:])


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_padding_wherever_it_stands_is_as_if_it_were_not_there(spec, with_query):
    inputs = make(spec, with_query)
    others = inputs._replace(hidden=jnp.where(REAL[..., None], inputs.hidden, 30.0))
    padded = pooled_and_gradients(spec, others, REAL, WEIGHING)[0]
    one = jax.tree.map(lambda array: array[:1], (inputs.hidden[:, REAL[0]], inputs.query))
    alone = run_quickly(spec, inputs._replace(hidden=one[0], query=one[1]), None)
    assert error(padded.out[:1], alone.out) < AGREEMENT
    if alone.weights is not None:
        np.testing.assert_allclose(padded.weights[:1][..., REAL[0]], alone.weights, atol=AGREEMENT)
        np.testing.assert_array_equal(np.asarray(padded.weights).swapaxes(1, 2)[~REAL], 0)


run_quickly = quick_jit(run, static_argnums=0)
