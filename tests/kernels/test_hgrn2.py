"""HGRN2: a bound of what is kept that grows with the layer, and gates that close and open wholly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, error, make, out_and_gradients, run_compiled
from attention_jax.kernels import Causal, Refused, Sizes, init
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

TOKENS = 20
PAST = np.broadcast_to(np.tri(TOKENS, dtype=bool), (2, 4, TOKENS, TOKENS))


def of_layer(layer, spec="hgrn2:layers=4"):
    inputs = make(spec, queries=TOKENS)
    trained, drawn = init(spec, jax.random.key(0), Sizes(4, 2, 8, 8, 5, layer=layer))
    bounds = trained["bounds"] + 0.3 * np.random.default_rng(layer).normal(size=(2, 8, 4)).astype("float32")
    return inputs._replace(params={"bounds": bounds, **drawn}), trained, drawn


@pytest.mark.parametrize("layer", [1, 3, 4])
def test_each_layer_is_the_equation_with_gates_that_close_and_open_wholly(layer):
    inputs, trained, drawn = of_layer(layer)
    shares = np.exp(trained["bounds"]) / np.exp(trained["bounds"]).sum(-1, keepdims=True)
    np.testing.assert_allclose((shares * drawn["before"]).sum(-1), (layer - 1) / 4, rtol=1e-6)
    key = inputs.key.at[:, 4].set(-300.0).at[:, 9].set(300.0).at[:, 11].set(-3e38)
    inputs = inputs._replace(key=key)
    with np.errstate(over="ignore"):
        expected = oracle(equation("hgrn2:layers=4"), *inputs, visible=PAST).out
    out, gradients = out_and_gradients(
        "hgrn2:layers=4", inputs, np.ones_like(expected), engine="recurrence", mask=Causal()
    )
    assert error(out, expected) < ROUNDING
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert (np.asarray(gradients.params["bounds"]) != 0).any() == (layer > 1)


def test_what_a_higher_layer_holds_it_holds_for_longer():
    key = jnp.full((2, TOKENS, 2, 8), -9.0).at[:, 0].set(0)
    value = jnp.zeros((2, TOKENS, 2, 5)).at[:, 0].set(1)
    inputs = [of_layer(layer)[0]._replace(key=key, value=value) for layer in (1, 2, 4)]
    left = [float(jnp.abs(run_compiled("hgrn2:layers=4", each, mask=Causal()).out[:, 5]).max()) for each in inputs]
    assert left[0] < 1e-6 < left[1] < left[2]


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(Refused, match=r"^hgrn2:layers=4 has no layer 5: give as many layers as the model has.$"):
        of_layer(5)
    with pytest.raises(Refused, match=r"^hgrn2 has layers=0: give as many layers as the model has.$"):
        of_layer(1, "hgrn2:layers=0")
