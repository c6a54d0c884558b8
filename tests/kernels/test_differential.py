"""Differential attention in its limits, and what it starts from in each layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run
from attention_jax.kernels import Refused, Sizes, attend, init


def test_without_lambda_it_is_scaled_attention_of_the_first_halves_normalised():
    inputs = make("differential")
    still = {name: jnp.zeros_like(array) for name, array in inputs.params.items()} | {"gain": jnp.ones(5)}
    found = run("differential", inputs._replace(params=still)).out
    plain = np.asarray(attend(inputs.query[..., :4], inputs.key[..., :4], inputs.value).out)
    root = np.sqrt((plain**2).mean(-1, keepdims=True) + 1e-5)
    assert error(found, plain / root) < AGREEMENT


@pytest.mark.parametrize(("layer", "start"), [(1, 0.2), (2, 0.8 - 0.6 * np.exp(-0.3)), (12, 0.8 - 0.6 * np.exp(-3.3))])
def test_lambda_starts_higher_in_later_layers(layer, start):
    sizes = Sizes(4, 2, 8, 8, 5, layer=layer)
    np.testing.assert_allclose(init("differential", jax.random.key(0), sizes)[1]["lambda_init"], start, rtol=1e-6)


def test_heads_that_have_no_halves_are_refused():
    with pytest.raises(Refused, match="differential halves each head, whose width is 7: give heads of an even width"):
        init("differential", jax.random.key(0), Sizes(4, 2, 7, 7, 5))


def test_a_gate_that_is_shut_leaves_scaled_attention():
    inputs = make("differential_v2")
    shut = inputs._replace(per_token={**inputs.per_token, "gate": jnp.full_like(inputs.per_token["gate"], -1e9)})
    assert error(run("differential_v2", shut).out, attend(*inputs[:3]).out) == 0
