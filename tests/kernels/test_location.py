"""Luong's location: weights over places from the query alone, for up to as many tokens as it was made for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run, run_compiled
from attention_jax.kernels import Causal, Refused, Sizes, init

SPEC = "location"


def test_what_a_key_holds_plays_no_part_and_its_value_does():
    inputs = make(SPEC)
    other = make(SPEC, seed=1)
    np.testing.assert_array_equal(
        run_compiled(SPEC, inputs).out, run_compiled(SPEC, inputs._replace(key=other.key)).out
    )
    assert error(run_compiled(SPEC, inputs).out, run_compiled(SPEC, inputs._replace(value=other.value)).out) > 0.1


def test_fewer_tokens_take_the_first_rows_and_more_are_refused_in_one_line():
    trained, _ = init(SPEC, jax.random.key(0), Sizes(4, 2, 8, 8, 5, length=20))
    assert trained["weight"].shape == (2, 20, 8)
    inputs = make(SPEC)._replace(params=trained)
    short = inputs._replace(params={"weight": trained["weight"][:, :7]})
    np.testing.assert_array_equal(run(SPEC, inputs).out, run(SPEC, short).out)
    with pytest.raises(Refused, match=r"^location was made for sequences of up to 20 tokens .*, not 21: make it with"):
        run(SPEC, make(SPEC, queries=21)._replace(params=trained))
    with pytest.raises(Refused, match="'weight' has a number for each place of a sequence: say how long it can be"):
        init(SPEC, jax.random.key(0), Sizes(4, 2, 8, 8, 5))


def test_places_are_positions_and_one_beyond_its_rows_gives_nan_to_who_sees_it_alone():
    inputs = make(SPEC)
    order = np.array([4, 0, 6, 2, 1, 3, 5])
    shuffled = inputs.with_tokens(lambda array: array[:, order])
    again = run_compiled(SPEC, shuffled, mask=Causal(), positions=jnp.asarray(order)[None]).out
    assert error(again, run_compiled(SPEC, inputs, mask=Causal()).out[:, order]) < AGREEMENT
    beyond = run_compiled(SPEC, inputs, mask=Causal(), positions=jnp.array([[0, 1, 2, 3, 4, 5, 7]])).out
    assert np.isfinite(beyond[:, :6]).all()
    assert np.isnan(beyond[:, 6]).all()
