"""cosFormer: places within the longest sequence that it is made for, and queries that no key suits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run, run_compiled
from attention_jax.kernels import Causal, Refused, Sizes, init

SPEC = "cosformer"


def test_a_sequence_that_is_longer_than_it_was_made_for_is_refused_and_a_shorter_one_keeps_its_cosines():
    _, drawn = init(SPEC, jax.random.key(0), Sizes(4, 2, 8, 8, 5, length=20))
    inputs = make(SPEC, queries=20)._replace(params=drawn)
    part = inputs.with_tokens(lambda array: array[:, :7])
    whole = run(SPEC, inputs, mask=Causal()).out
    assert error(run(SPEC, part, mask=Causal()).out, whole[:, :7]) < AGREEMENT
    with pytest.raises(Refused, match=r"^cosformer was made for sequences of up to 20 tokens .*, not 21"):
        run(SPEC, make(SPEC, queries=21)._replace(params=drawn), mask=Causal())
    with pytest.raises(Refused, match=r"^cosformer has 5 queries for 3 keys: give as many keys, or more.$"):
        run(SPEC, make(SPEC, queries=5, keys=3))


@pytest.mark.parametrize("engine", ["dense", "recurrence"])
def test_a_place_beyond_gives_nan_to_who_stands_there_and_to_who_sees_it(engine):
    inputs = make(SPEC)
    beyond = (jnp.array([[0, 1, 2, 3, 4, 5, 9]]), jnp.arange(7)[None])
    out = run_compiled(SPEC, inputs, positions=beyond, engine=engine).out
    assert np.isfinite(out[:, :6]).all()
    assert np.isnan(out[:, 6]).all()
    assert np.isnan(run_compiled(SPEC, inputs, positions=beyond[::-1], engine=engine).out).all()


@pytest.mark.parametrize("engine", ["dense", "recurrence"])
def test_a_query_with_nothing_above_zero_gives_0_with_finite_gradients(engine):
    inputs = make(SPEC)
    inputs = inputs._replace(query=-jnp.abs(inputs.query))
    out, pullback = jax.vjp(lambda inputs: run(SPEC, inputs, mask=Causal(), engine=engine).out, inputs)
    assert (out == 0).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(pullback(jnp.ones_like(out))))
