"""A variant with a state gives, in steps split anywhere, what it gives in one pass."""

import functools

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, claiming, error, make, quick_jit, run, widely
from attention_jax.kernels import Causal, Padding, Refused

STATEFUL = claiming(state=True)
TOKENS = 66
LENGTHS = np.array([66, 50])


@functools.partial(quick_jit, static_argnames="spec")
def step(spec, inputs, state, mask):
    result = run(spec, inputs, mask=mask, state=state, outputs=("out", "state"))
    return result.out, result.state


def in_parts(spec, inputs, sizes):
    """Runs the parts one after the other, each with the state that the one before it left."""
    outs, state, start = [], None, 0
    for size in sizes:
        part = inputs.with_tokens(lambda array, start=start, size=size: np.asarray(array)[:, start : start + size])
        out, state = step(spec, part, state, Causal() & Padding(np.clip(LENGTHS - start, 0, size)))
        outs.append(np.asarray(out))
        start += size
    return np.concatenate(outs, axis=1), state


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [(spec, (64, 1, 1)) for spec in STATEFUL]
    + widely((spec, sizes) for spec in STATEFUL for sizes in ((1,) * TOKENS, (1, 64, 1))),
    ids=str,
)
def test_any_split_equals_one_pass(spec, sizes):
    inputs = make(spec, queries=TOKENS)
    (whole, last), (joined, end) = (in_parts(spec, inputs, parts) for parts in ([TOKENS], sizes))
    assert error(joined, whole) < AGREEMENT
    following = inputs.with_tokens(lambda array: np.asarray(array)[:, :1])
    after_whole, after_parts = (step(spec, following, state, Causal() & Padding(LENGTHS))[0] for state in (last, end))
    assert error(after_parts, after_whole) < AGREEMENT


@pytest.mark.parametrize("spec", STATEFUL)
def test_a_state_that_is_not_of_these_tokens_is_refused(spec):
    inputs = make(spec)
    _, state = step(spec, inputs, None, Causal())
    with pytest.raises(Refused, match=f"the state is not one of {spec}"):
        step(spec, make(spec, batch=1), state, Causal())
    with pytest.raises(Refused, match=f"the state is not one of {spec}"):
        step(spec, inputs, jax.tree.leaves(state), Causal())


@pytest.mark.parametrize("spec", claiming(state=True, bidirectional=True))
def test_a_state_needs_a_causal_mask(spec):
    inputs = make(spec)
    with pytest.raises(Refused, match="a state is of the past: it needs a Causal mask"):
        run(spec, inputs, outputs=("out", "state"), engine="recurrence")
    _, state = step(spec, inputs, None, Causal())
    with pytest.raises(Refused, match="a state is of the past: it needs a Causal mask"):
        run(spec, inputs, state=state, engine="recurrence")
