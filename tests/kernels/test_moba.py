"""MoBA where most keys are left out: as the oracle, and as a softmax under the mask of what was chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    GRADIENT_AGREEMENT,
    error,
    like_output,
    make,
    out_and_gradients,
    run,
    run_compiled,
)
from attention_jax.kernels import Causal, Dense, Padding, Refused, budget
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

SPEC, TOKENS = "moba:block=3,top_k=3", 36
LENGTHS = np.array([36, 32])
MASK = Causal() & Padding(LENGTHS)
VISIBLE = np.tri(TOKENS, dtype=bool) & (np.arange(TOKENS) < LENGTHS[:, None])[:, None, None]


@pytest.mark.parametrize("elements", [budget.ELEMENTS, 5000], ids=["all queries", "some queries at a time"])
def test_where_most_is_left_out_it_is_a_softmax_over_what_is_chosen_and_so_are_its_gradients(elements, monkeypatch):
    monkeypatch.setattr(budget, "ELEMENTS", elements)
    inputs = make(SPEC, queries=TOKENS)
    weighing = like_output(inputs)
    expected = oracle(equation(SPEC), *inputs, visible=np.broadcast_to(VISIBLE, (2, 4, TOKENS, TOKENS)))
    chosen = expected.weights > 0
    assert chosen.sum() < np.broadcast_to(VISIBLE, chosen.shape).sum() / 2
    assert chosen.reshape(*chosen.shape[:3], -1, 3).any(-1).sum(-1)[:, :, 6:32].min() == 3
    out, gradients = out_and_gradients(SPEC, inputs, weighing, engine="dense", mask=MASK)
    assert error(out, expected.out) < AGREEMENT
    _, of_twin = out_and_gradients("scaled_dot", inputs, weighing, engine="dense", mask=Dense(chosen))
    for found, wanted in zip(gradients.tokens, of_twin.tokens, strict=True):
        assert error(found, wanted) < GRADIENT_AGREEMENT
    lse = run(SPEC, inputs, mask=MASK, outputs=("lse",)).lse
    np.testing.assert_allclose(lse, run("scaled_dot", inputs, mask=Dense(chosen), outputs=("lse",)).lse, atol=1e-5)


def test_blocks_go_by_positions_and_padding_between_is_as_if_it_were_not_there():
    inputs = make(SPEC, queries=TOKENS)
    order = np.random.default_rng(0).permutation(TOKENS)
    real = np.ones((2, TOKENS), bool)
    real[0, [0, 4, 5, 17]] = False
    shuffled = inputs.with_tokens(lambda array: array[:, order])
    given = {"mask": Causal() & Padding(real[:, order]), "positions": jnp.asarray(order)[None]}
    in_order = run_compiled(SPEC, inputs, mask=Causal() & Padding(real)).out
    assert error(run_compiled(SPEC, shuffled, **given).out, np.asarray(in_order)[:, order]) < AGREEMENT
    left = np.flatnonzero(real[0])
    alone = run_compiled(SPEC, inputs.with_tokens(lambda array: array[:1, left]), mask=Causal()).out
    assert error(in_order[:1, left], alone) < AGREEMENT


def test_the_choice_has_no_gradient_and_a_block_that_is_not_whole_is_no_ones_choice():
    inputs = make(SPEC, queries=TOKENS)
    changed = inputs._replace(key=inputs.key.at[:, 20:].multiply(50.0))
    before, after = (run(SPEC, case, mask=Causal()).out for case in (inputs, changed))
    np.testing.assert_array_equal(before[:, :20], after[:, :20])
    only_own = "moba:block=3,top_k=1"
    of_key = jax.grad(lambda key: run(only_own, inputs._replace(key=key), mask=Causal()).out[:, 21:].sum())(inputs.key)
    np.testing.assert_array_equal(of_key[:, :21], 0)


@pytest.mark.parametrize("option", ["block", "top_k"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(Refused, match=f"moba:{option}=0 must be a whole number of at least 1"):
        run(f"moba:{option}=0", make("scaled_dot"), mask=Causal())
