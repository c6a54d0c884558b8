"""NSA where most keys are left out: as the oracle, with its gradients; what its parts are, and its limit."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run, run_compiled
from attention_jax.kernels import Causal, Padding, Refused, budget
from tests.kernels.against_oracle import check_gradients
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

# Each query sees at most 16 selected keys and 3 near ones; equation 9 joins two strides of a block and of a key.
SPEC, TOKENS = "nsa:length=4,stride=2,block=4,selected=4,window=3", 40
LENGTHS = np.array([40, 33])
MASK = Causal() & Padding(LENGTHS)
VISIBLE = np.tri(TOKENS, dtype=bool) & (np.arange(TOKENS) < LENGTHS[:, None])[:, None, None]
VISIBLE = np.broadcast_to(VISIBLE, (2, 4, TOKENS, TOKENS))


def with_gates(inputs, *gates):
    return inputs._replace(per_token={"gates": jnp.broadcast_to(jnp.array(gates), inputs.per_token["gates"].shape)})


@pytest.mark.parametrize("elements", [budget.ELEMENTS, 5000], ids=["all queries", "some queries at a time"])
def test_where_most_is_left_out_it_is_the_oracle(elements, monkeypatch):
    monkeypatch.setattr(budget, "ELEMENTS", elements)
    inputs = make(SPEC, queries=TOKENS)
    expected = oracle(equation(SPEC), *inputs, visible=VISIBLE).out
    assert error(run(SPEC, inputs, mask=MASK).out, expected) < AGREEMENT


def test_its_gradients_are_those_of_the_oracle_where_most_is_left_out():
    check_gradients(SPEC, make(SPEC, queries=TOKENS), VISIBLE, MASK)


def test_all_blocks_selected_and_nothing_else_is_causal_softmax():
    inputs = with_gates(make(SPEC, queries=16), -1e9, 1e9, -1e9)
    plain = inputs._replace(params={}, per_token={})
    expected = run_compiled("scaled_dot", plain, mask=Causal()).out
    assert error(run_compiled(SPEC, inputs, mask=Causal()).out, expected) < AGREEMENT


def test_rows_before_the_first_compressed_key_have_0_of_it_and_each_is_hidden_until_its_last_token():
    inputs = with_gates(make(SPEC, queries=8), 1e9, -1e9, -1e9)
    out = run_compiled(SPEC, inputs, mask=Causal()).out
    np.testing.assert_array_equal(out[:, :3], 0)
    assert (out[:, 3:] != 0).all()
    changed = inputs._replace(value=inputs.value.at[:, 5].add(100.0))
    later = run_compiled(SPEC, changed, mask=Causal()).out
    np.testing.assert_array_equal(later[:, :5], out[:, :5])
    assert (later[:, 5] != out[:, 5]).any()


def test_fewer_tokens_than_a_compressed_block_are_taken():
    inputs = make("nsa")
    assert np.isfinite(run_compiled("nsa", inputs, mask=Causal()).out).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("selected=2", "nsa:selected=2 must be a whole number of at least 3"),
        ("window=0", "nsa:window=0 must be a whole number of at least 1"),
        ("stride=5", "nsa:stride=5 does not divide length=32: give a divisor of it"),
        ("block=24", "nsa:stride=16 does not divide block=24: give a divisor of it"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(Refused, match=words):
        run(f"nsa:{options}", make("scaled_dot"), mask=Causal())
