"""What must not matter does not: the order of tokens and of pairs and, where claimed, which sequence is first."""

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit, same_bits
from attention_jax.contract.pairs.cases import (
    FIRST,
    REAL,
    SECOND,
    SPECS,
    WEIGHING,
    Inputs,
    claims,
    make,
    paired_and_gradients,
    run,
)

ORDER = np.array([4, 0, 2, 5, 1, 3])


@pytest.mark.parametrize("spec", SPECS)
def test_weights_are_shares_of_what_is_real(spec):
    paired = paired_and_gradients(spec, make(spec), REAL, WEIGHING)[0]
    if paired.first_weights is None and paired.second_weights is None:
        pytest.skip("it has no weights")
    both = FIRST.any(1) & SECOND.any(1)
    for weights, axis, real, others in (
        (paired.first_weights, 1, FIRST, SECOND),
        (paired.second_weights, -1, SECOND, FIRST),
    ):
        assert (np.asarray(weights) >= 0).all()
        by_other = others & both[:, None] if weights.ndim == 3 else both
        np.testing.assert_allclose(np.asarray(weights).sum(axis), by_other, atol=1e-6)
        np.testing.assert_array_equal(np.moveaxis(np.asarray(weights), axis, 1)[~real], 0)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if claims(spec).order_free])
def test_the_order_of_the_tokens_does_not_matter_but_to_the_places_of_the_result(spec):
    inputs = make(spec)
    plain = paired_and_gradients(spec, inputs, REAL, WEIGHING)[0]
    moved = inputs._replace(first=inputs.first[:, ORDER])
    again = paired_and_gradients(spec, moved, (FIRST[:, ORDER], SECOND), WEIGHING)[0]
    assert error(again.affinity, plain.affinity[:, ORDER]) < AGREEMENT
    assert error(again.first, plain.first[:, ORDER] if plain.first.ndim == 3 else plain.first) < AGREEMENT
    assert error(again.second, plain.second) < AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_pairs_do_not_see_each_other(spec):
    inputs, other = make(spec), make(spec, seed=1)
    mixed = inputs._replace(**{n: getattr(inputs, n).at[1:].set(getattr(other, n)[1:]) for n in ("first", "second")})
    plain, changed = (paired_and_gradients(spec, case, REAL, WEIGHING)[0] for case in (inputs, mixed))
    assert same_bits(jax.tree.map(lambda array: array[0], plain), jax.tree.map(lambda array: array[0], changed))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if claims(spec).swapped is not None])
def test_sequences_that_change_places_change_results(spec):
    inputs = make(spec)
    plain = paired_and_gradients(spec, inputs, REAL, WEIGHING)[0]
    swapped = Inputs(inputs.second, inputs.first, claims(spec).swapped(inputs.params))
    other = quick_jit(run, static_argnums=0)(spec, swapped, SECOND, FIRST)
    assert error(other.first, plain.second) < AGREEMENT
    assert error(other.second, plain.first) < AGREEMENT
    assert error(other.affinity, np.swapaxes(plain.affinity, 1, 2)) < AGREEMENT
