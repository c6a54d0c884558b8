"""An alignment goes on from where an earlier call stopped: queries in parts, the keys whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, claiming, error, make, run, run_compiled, same_bits, widely
from attention_jax.contract.mask_cases import MASKS, behind
from attention_jax.kernels import Refused

STEPPING = claiming(steps=True)
POSITIONS = np.arange(7)[None]


def part(inputs, first, last):
    """These inputs with some of the queries; the keys stay whole."""
    return inputs._replace(query=inputs.query[:, first:last])


TOKENS, PARTS = (1,) * 7, (1, 1, 4, 1)


def step(spec, inputs, first, last, mask, state=None):
    """Some of the queries, at their positions, after a state."""
    given = {"mask": mask, "positions": (POSITIONS[:, first:last], POSITIONS), "outputs": ("out", "state")}
    return run_compiled(spec, part(inputs, first, last), state=state, **given)


@pytest.mark.parametrize(
    ("spec", "kind", "sizes"),
    [(spec, "padding", TOKENS) for spec in STEPPING]
    + widely((spec, *case) for spec in STEPPING for case in (("none", TOKENS), ("none", PARTS), ("padding", PARTS))),
    ids=str,
)
def test_queries_in_parts_equal_all_at_once(spec, kind, sizes):
    inputs, mask, state, outs, first = make(spec), MASKS[kind].mask, None, [], 0
    whole = step(spec, inputs, 0, 7, mask)
    for size in sizes:
        result = step(spec, inputs, first, first + size, mask, state)
        state, first = result.state, first + size
        outs.append(result.out)
    assert error(jnp.concatenate(outs, axis=1), whole.out) < AGREEMENT
    for ours, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(whole.state), strict=True):
        assert error(ours, wanted) < AGREEMENT


@pytest.mark.parametrize("spec", STEPPING)
def test_what_the_queries_before_have_left_matters(spec):
    inputs, mask = make(spec), behind([7, 7])
    state = step(spec, inputs, 0, 1, mask).state
    after, alone = (step(spec, inputs, 1, 2, mask, given).out for given in (state, None))
    assert error(alone, after) > 1e-3


@pytest.mark.parametrize("spec", STEPPING)
def test_a_query_that_sees_no_key_leaves_the_state_as_it_is(spec):
    inputs = make(spec)
    state = step(spec, inputs, 0, 1, behind([7, 7])).state
    result = step(spec, inputs, 1, 2, behind([0, 0]), state)
    assert same_bits(result.state, state)
    np.testing.assert_array_equal(result.out, 0)


@pytest.mark.parametrize("spec", STEPPING)
def test_a_state_of_other_arrays_is_refused_in_one_line(spec):
    others, own = (
        jax.eval_shape(lambda i: run(spec, i, outputs=("state",)).state, make(spec, keys=keys)) for keys in (5, 7)
    )
    state = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), others)
    if jax.tree.map(jnp.shape, others) == jax.tree.map(jnp.shape, own):
        state = jax.tree.map(lambda array: array[:1], state)
    with pytest.raises(Refused, match="was given a state of other arrays than its own") as refusal:
        run(spec, make(spec), state=state)
    assert "\n" not in str(refusal.value)
