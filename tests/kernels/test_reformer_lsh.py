"""Reformer's attention where most tokens are left out: as the oracle, with its gradients; its limit; what may leak."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run, run_compiled
from attention_jax.kernels import Causal, Dense, Refused
from attention_jax.kernels.mechanism import unit
from attention_jax.layers import require_causal
from tests.kernels.against_oracle import check_where_most_is_left_out

SPEC, TOKENS = "reformer_lsh:rounds=2,buckets=4,chunk=4", 37


@pytest.mark.parametrize("causal", [False, True])
def test_where_most_is_left_out_it_is_the_oracle_and_so_are_its_gradients(causal):
    check_where_most_is_left_out(SPEC, tokens=TOKENS, padded=7, causal=causal)


@pytest.mark.parametrize("rounds", [1, 3])
def test_one_chunk_is_softmax_of_shared_queries_and_keys_that_leaves_out_oneself(rounds):
    """And a key that is met in three rounds counts once."""
    spec = f"reformer_lsh:rounds={rounds},chunk=16"
    inputs = make(spec, queries=16, kv_heads=4)
    others = np.tri(16, k=-1, dtype=bool)
    others[0, 0] = True
    shared = unit(inputs.query) * 8**0.5
    expected = run_compiled("scaled_dot", inputs._replace(key=shared, params={}), mask=Dense(others)).out
    assert error(run_compiled(spec, inputs, mask=Causal()).out, expected) < AGREEMENT


def test_of_the_future_values_do_not_leak_and_queries_may():
    inputs = make(SPEC, queries=TOKENS)
    before = np.asarray(run_compiled(SPEC, inputs, mask=Causal()).out)[:, :20]
    values = inputs._replace(value=inputs.value.at[:, 20:].add(9.0))
    np.testing.assert_array_equal(np.asarray(run_compiled(SPEC, values, mask=Causal()).out)[:, :20], before)
    queries = inputs._replace(query=inputs.query.at[:, 20:].set(make(SPEC, queries=TOKENS, seed=9).query[:, 20:]))
    assert error(np.asarray(run_compiled(SPEC, queries, mask=Causal()).out)[:, :20], before) > 0.1


def test_the_first_chunk_does_not_look_at_the_last():
    spec = "reformer_lsh:rounds=1,buckets=2,chunk=2"
    angles = jnp.linspace(0.1, 0.2, 8).at[6:].add(jnp.pi)
    query = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)[None, :, None]
    inputs = make(spec, batch=1, queries=8, heads=1, kv_heads=1, width=2)._replace(query=query)
    inputs = inputs._replace(params={"rotations": jnp.array([1.0, 0.0]).reshape(1, 1, 2, 1)})
    marked = inputs._replace(value=jnp.zeros_like(inputs.value).at[:, 6:].set(1.0))
    out = np.asarray(run_compiled(spec, marked).out)[0, :, 0, 0]
    np.testing.assert_array_equal(out[:6], 0)
    assert (out[6:] > 0).all()


def test_a_language_model_refuses_it_unless_told():
    with pytest.raises(Refused, match=r"reformer_lsh can leak it: .*set approximate_causal=True"):
        require_causal("reformer_lsh", owner="model gpt")
    require_causal("reformer_lsh", owner="model gpt", approximate=True)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("rounds=0", "reformer_lsh:rounds=0 must be a whole number of at least 1"),
        ("buckets=3", "reformer_lsh:buckets=3 is odd: a bucket is a direction or its opposite; give 2, 4"),
    ],
)
def test_options_that_do_not_fit_are_refused(option, words):
    with pytest.raises(Refused, match=words):
        run(f"reformer_lsh:{option}", make("scaled_dot"))
