"""0 where a sequence has no real token; what is not real is not felt; what is real and not finite gives NaN."""

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit, same_bits
from attention_jax.contract.pairs.cases import (
    EMPTY,
    FIRST,
    REAL,
    SECOND,
    SPECS,
    WEIGHING,
    claims,
    make,
    paired_and_gradients,
    places,
    run,
)

POISONS = (np.nan, np.inf, -np.inf, 1e30)


@pytest.mark.parametrize("spec", SPECS)
def test_where_one_sequence_has_no_token_all_is_zero_and_takes_no_part(spec):
    paired, gradients = paired_and_gradients(spec, make(spec), REAL, WEIGHING)
    for leaf in jax.tree.leaves(paired):
        np.testing.assert_array_equal(np.asarray(leaf)[EMPTY], 0)
        assert np.isfinite(leaf).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    for array in gradients[:2]:
        np.testing.assert_array_equal(np.asarray(array)[EMPTY], 0)
    unweighed = np.where(EMPTY[:, None], 0, WEIGHING)
    assert same_bits(gradients, paired_and_gradients(spec, make(spec), REAL, unweighed)[1])


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_not_real_is_not_felt_whatever_it_holds(spec):
    inputs = make(spec)
    clean = paired_and_gradients(spec, inputs, REAL, WEIGHING)
    for found, real in zip(clean[1][:2], REAL, strict=True):
        np.testing.assert_array_equal(np.asarray(found)[~real], 0)
    np.testing.assert_array_equal(np.asarray(clean[0].affinity)[~(FIRST[:, :, None] & SECOND[:, None])], 0)
    for result, real in ((clean[0].first, FIRST), (clean[0].second, SECOND)):
        if result.ndim == 3 and result.shape[1] == real.shape[1]:
            np.testing.assert_array_equal(np.asarray(result)[~real], 0)
    for poison in POISONS:
        first, second = (
            np.where(real[..., None], array, np.float32(poison)) for real, array in zip(REAL, inputs[:2], strict=True)
        )
        found = paired_and_gradients(spec, inputs._replace(first=first, second=second), REAL, WEIGHING)
        assert same_bits(found, clean), poison


@pytest.mark.parametrize("spec", SPECS)
def test_a_real_token_that_is_not_finite_gives_nan_to_its_pair_alone(spec):
    inputs = make(spec)
    others = np.where(np.arange(len(FIRST))[:, None] == 0, 0, WEIGHING)
    clean, expected = paired_and_gradients(spec, inputs, REAL, others)
    for poison in POISONS[:3]:
        for changed in (
            inputs._replace(first=inputs.first.at[0, 2, 1].set(poison)),
            inputs._replace(second=inputs.second.at[0, 1, 3].set(poison)),
        ):
            paired, gradients = paired_and_gradients(spec, changed, REAL, others)
            for leaf, before in zip(jax.tree.leaves(paired), jax.tree.leaves(clean), strict=True):
                assert np.isnan(leaf[0]).all()
                np.testing.assert_array_equal(leaf[1:], before[1:])
            assert same_bits(gradients, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_padding_is_as_if_it_were_not_there(spec):
    inputs = make(spec)
    padded = paired_and_gradients(spec, inputs, REAL, WEIGHING)[0]
    for number in (0, 4) if claims(spec).order_free else (0,):
        alone = inputs._replace(
            first=inputs.first[number : number + 1, FIRST[number]],
            second=inputs.second[number : number + 1, SECOND[number]],
        )
        expected = run_quickly(spec, alone)
        for result, other, real in (
            (padded.first, expected.first, FIRST),
            (padded.second, expected.second, SECOND),
        ):
            assert error(places(result[number], real[number], real.shape[1]), other[0]) < AGREEMENT


run_quickly = quick_jit(run, static_argnums=0)
