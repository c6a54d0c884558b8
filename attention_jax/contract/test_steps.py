"""An alignment goes on from where an earlier call stopped: queries in parts, the keys whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, MASKS, claiming, error, make, run, same_bits
from attention_jax.kernels import Refused

STEPPING = claiming(steps=True)
POSITIONS = np.arange(7)[None]


def part(inputs, first, last):
    """These inputs with some of the queries; the keys stay whole."""
    return inputs._replace(query=inputs.query[:, first:last])


@pytest.mark.parametrize("kind", ["none", "padding"])
@pytest.mark.parametrize("spec", STEPPING)
def test_queries_in_parts_equal_all_at_once(spec, kind):
    inputs, mask = make(spec), MASKS[kind].mask
    whole = run(spec, inputs, mask=mask, outputs=("out", "state"))
    state, outs = None, []
    for first, last in ((0, 1), (1, 2), (2, 6), (6, 7)):
        result = run(
            spec,
            part(inputs, first, last),
            mask=mask,
            state=state,
            positions=(POSITIONS[:, first:last], POSITIONS),
            outputs=("out", "state"),
        )
        state = result.state
        outs.append(result.out)
    assert error(jnp.concatenate(outs, axis=1), whole.out) < AGREEMENT
    for ours, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(whole.state), strict=True):
        assert error(ours, wanted) < AGREEMENT


@pytest.mark.parametrize("spec", STEPPING)
def test_what_the_queries_before_have_left_matters(spec):
    inputs = make(spec)
    state = run(spec, part(inputs, 0, 6), outputs=("out", "state")).state
    last = part(inputs, 6, 7)
    after = run(spec, last, state=state, positions=(POSITIONS[:, 6:], POSITIONS)).out
    assert error(run(spec, last, positions=(POSITIONS[:, 6:], POSITIONS)).out, after) > 1e-3


@pytest.mark.parametrize("spec", STEPPING)
def test_a_query_that_sees_no_key_leaves_the_state_as_it_is(spec):
    inputs = make(spec)
    state = run(spec, part(inputs, 0, 2), outputs=("out", "state")).state
    nothing = jnp.zeros((1, 7), bool)
    result = run(spec, part(inputs, 2, 3), state=state, mask=nothing, outputs=("out", "state"))
    assert same_bits(result.state, state)
    np.testing.assert_array_equal(result.out, 0)


@pytest.mark.parametrize("spec", STEPPING)
def test_a_state_of_other_arrays_is_refused_in_one_line(spec):
    state = run(spec, make(spec, keys=5, queries=7), outputs=("out", "state")).state
    if jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, run(spec, make(spec), outputs=("state",)).state):
        state = jax.tree.map(lambda array: array[:1], state)
    with pytest.raises(Refused, match="was given a state of other arrays than its own") as refusal:
        run(spec, make(spec), state=state)
    assert "\n" not in str(refusal.value)
