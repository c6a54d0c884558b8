"""What is told of mechanisms without weights: states held to those of prefixes, gates to their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import make, quick_jit, run, usual_mask
from attention_jax.kernels import Causal, Refused, attend
from attention_jax.kernels.told import gates, linear_in_values, shares, state_norms


@pytest.mark.parametrize("spec", ["linear", "mamba2", "delta_product:steps=3"])
def test_the_norms_are_those_of_the_states_of_all_prefixes(spec):
    inputs = make(spec)

    @quick_jit
    def both(inputs):
        given = {"variant": spec, "params": inputs.params, "per_token": inputs.per_token}
        found, pairs = state_norms(*inputs[:3], **given), []
        for tokens in (1, 4, 7):
            cut = jax.tree.map(lambda array, tokens=tokens: array[:, :tokens], (inputs[:3], inputs.per_token))
            given["per_token"] = cut[1] or None
            state = attend(*cut[0], mask=Causal(), outputs=("state",), **given).state
            pairs.append((found[:, :, tokens - 1], state))
        return pairs

    for norms, state in both(inputs):
        total = np.asarray(state.total)
        if state.log_scale is not None:
            total = total[..., :-1] * np.exp(np.asarray(state.log_scale))[..., None, None]
        np.testing.assert_allclose(norms, np.sqrt((total**2).sum((-2, -1))), rtol=1e-5)


def test_a_variant_without_a_state_is_refused():
    inputs = make("scaled_dot")
    with pytest.raises(Refused, match="scaled_dot has no recurrent state whose norm could be told"):
        state_norms(*inputs[:3])


def of(spec):
    inputs = make(spec)
    return inputs, gates(inputs.key, variant=spec, params=inputs.params, per_token=inputs.per_token)


def test_the_gates_of_a_recurrence_are_what_it_keeps_and_how_strongly_it_writes():
    inputs, found = of("retention")
    assert found.keys() == {"decay"}
    np.testing.assert_allclose(found["decay"][0, :, 3], 1 - 2.0 ** (-5 - np.arange(2)), rtol=1e-6)
    inputs, found = of("mamba2")
    step = np.log1p(np.exp(np.asarray(inputs.per_token["gate"]) + np.asarray(inputs.params["step_bias"])))
    np.testing.assert_allclose(found["strength"], step.swapaxes(1, 2), rtol=1e-5)
    np.testing.assert_allclose(
        found["decay"], np.exp(-np.exp(inputs.params["log_rate"])[:, None] * found["strength"]), rtol=1e-5
    )
    # A decay for each channel is its mean.
    inputs, found = of("rwkv7")
    by_channel = np.exp(-np.exp(-0.5) / (1 + np.exp(-np.asarray(inputs.per_token["gate"]))))
    np.testing.assert_allclose(found["decay"], by_channel.mean(-1).swapaxes(1, 2), rtol=1e-5)
    assert of("linear")[1] == {}


def test_of_other_variants_they_are_the_inputs_as_they_come():
    inputs, found = of("delta_product:steps=3")
    beta = np.asarray(inputs.per_token["beta"])
    np.testing.assert_allclose(
        found["given_beta"], beta.reshape(*beta.shape[:3], -1).mean(-1).swapaxes(1, 2), rtol=1e-5
    )


@pytest.mark.parametrize("spec", ["scaled_dot", "moba:block=2,top_k=2", "routing:clusters=2,window=3"])
def test_the_shares_make_the_output_of_the_values(spec):
    inputs, mask = make(spec), usual_mask(spec)

    @quick_jit
    def both(inputs):
        found = shares(lambda value: run(spec, inputs._replace(value=value), mask=mask), inputs.key)
        return found, run(spec, inputs, mask=mask).out

    found, out = both(inputs)
    assert linear_in_values(spec)
    value = jnp.repeat(inputs.value, found.shape[1] // inputs.value.shape[2], axis=2)
    np.testing.assert_allclose(jnp.einsum("bnts,bsnh->btnh", found, value), out, rtol=1e-4, atol=1e-5)


def test_a_variant_that_turns_its_values_has_no_shares():
    assert not linear_in_values("nsa:length=2,stride=1,block=1,selected=4,window=2")
