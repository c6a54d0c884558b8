"""Routing attention where most tokens are left out: the oracle, its gradients, its means, its loss and its leak."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import error, make, run
from attention_jax.kernels import Causal, Padding, Refused
from attention_jax.layers import require_causal
from tests.kernels.against_oracle import check_where_most_is_left_out
from tests.oracle.functions import unit

SPEC, TOKENS = "routing:clusters=4,window=8", 30


@pytest.mark.parametrize("causal", [False, True])
def test_where_most_is_left_out_it_is_the_oracle_and_so_are_its_gradients(causal):
    check_where_most_is_left_out(SPEC, tokens=TOKENS, padded=8, causal=causal)


def test_a_query_that_two_centroids_take_gets_their_mean_and_one_that_none_takes_gets_0():
    spec = "routing:clusters=2,window=2"
    inputs = make(spec, batch=1, queries=4, heads=1, kv_heads=1, width=2)
    tokens = jnp.array([[1.0, 0.1], [1.0, 1.0], [0.1, 1.0], [-1.0, -1.0]])[None, :, None]
    inputs = inputs._replace(query=tokens, key=tokens, params={"centroids": jnp.eye(2)[None]})
    out = np.asarray(run(spec, inputs).out)[0, :, 0]
    first, second = (
        np.asarray(run("scaled_dot", inputs._replace(params={}).with_tokens(lambda a, s=s: a[:, s])).out)[0, :, 0]
        for s in (slice(0, 2), slice(1, 3))
    )
    np.testing.assert_allclose(out[:3], [first[0], (first[1] + second[0]) / 2, second[1]], rtol=1e-5)
    np.testing.assert_array_equal(out[3], 0)


def test_the_commitment_loss_is_the_squared_distance_to_the_nearest_centroid_and_moves_the_tokens_alone():
    inputs = make(SPEC, queries=9)

    def losses(inputs):
        return run(SPEC, inputs, mask=Padding(np.array([9, 6])), outputs=("aux",)).aux

    found = losses(inputs)
    centroids = np.asarray(inputs.params["centroids"], np.float64)
    for name, tokens, heads in (("query_commitment", inputs.query, 1), ("key_commitment", inputs.key, 2)):
        tokens, expected = np.asarray(tokens, np.float64), np.zeros((2, 4, 9))
        for b, n, t in np.ndindex(2, 4, 9):
            distances = [np.sum((unit(np, tokens[b, t, n // heads]) - unit(np, c)) ** 2) for c in centroids[n]]
            expected[b, n, t] = 0 if b == 1 and t >= 6 else min(distances)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
    gradients = jax.grad(lambda inputs: sum(loss.sum() for loss in losses(inputs).values()))(inputs)
    assert all(np.abs(array).max() > 0 for array in (gradients.query, gradients.key))
    np.testing.assert_array_equal(gradients.params["centroids"], 0)


def test_of_the_future_values_do_not_leak_and_keys_may():
    inputs = make(SPEC, queries=TOKENS)
    before = np.asarray(run(SPEC, inputs, mask=Causal()).out)[:, :20]
    values = inputs._replace(value=inputs.value.at[:, 20:].add(9.0))
    np.testing.assert_array_equal(np.asarray(run(SPEC, values, mask=Causal()).out)[:, :20], before)
    keys = inputs._replace(key=inputs.key.at[:, 20:].set(make(SPEC, queries=TOKENS, seed=9).key[:, 20:]))
    assert error(np.asarray(run(SPEC, keys, mask=Causal()).out)[:, :20], before) > 0.1
    with pytest.raises(Refused, match=r"routing can leak it: .*set approximate_causal=True"):
        require_causal("routing", owner="model gpt")


@pytest.mark.parametrize("option", ["clusters", "window"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(Refused, match=f"routing:{option}=0 must be a whole number of at least 1"):
        run(f"routing:{option}=0", make("scaled_dot"))
