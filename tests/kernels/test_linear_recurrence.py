"""Decays and the delta rule in the recurrence engine: gates that close, keys that recur, tokens that are hidden."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    ROUNDING,
    error,
    make,
    out_and_gradients,
    run,
    run_compiled,
    same_bits,
)
from attention_jax.kernels import Causal, Padding, Refused, Sizes, attend, explain, init
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

ALL = ["retention", "gated_retention", "gated_linear", "mamba2", "delta_net", "gated_delta_net", "kimi_delta"]
GATED = [spec for spec in ALL if spec not in ("retention", "delta_net")]
TOKENS = 20
PAST = np.broadcast_to(np.tri(TOKENS, dtype=bool), (2, 4, TOKENS, TOKENS))


@functools.cache
def inputs_of(spec):
    return make(spec, queries=TOKENS)


@pytest.mark.parametrize("spec", GATED)
def test_gates_that_close_wholly_neither_overflow_nor_round_away_what_comes_after(spec):
    """A cumulative sum over the chunk has no digit left for what comes behind a decay of exp(-4000) or less."""
    inputs = inputs_of(spec)
    closing = -1e7 if spec in ("gated_retention", "gated_linear") else 500
    gate = inputs.per_token["gate"].at[:, (3, 4, 9)].set(closing)
    inputs = inputs._replace(per_token=inputs.per_token | {"gate": gate})
    if spec == "mamba2":  # Its gate is the size of the write too; a closed one would swamp all else.
        inputs = inputs._replace(value=inputs.value.at[:, (3, 4, 9)].set(1e-6))
    with np.errstate(over="ignore"):
        expected = oracle(equation(spec), *inputs, visible=PAST).out
    out, gradients = out_and_gradients(spec, inputs, np.ones_like(expected), engine="recurrence", mask=Causal())
    # A long step writes large numbers beside small ones: each is as good as its own digits.
    np.testing.assert_allclose(out, expected, rtol=ROUNDING, atol=ROUNDING * expected.std())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("spec", ALL)
def test_a_hidden_token_neither_decays_nor_writes(spec):
    inputs, real = inputs_of(spec), np.arange(TOKENS) % 3 > 0
    real[-1] = True
    out = run_compiled(spec, inputs, "recurrence", mask=Causal() & Padding(np.stack([real, real]))).out
    kept = run_compiled(spec, inputs.with_tokens(lambda array: array[:, real]), "recurrence", mask=Causal()).out
    assert error(out[:, real], kept) < AGREEMENT
    # The query of a hidden token reads what is before it: nothing has changed since.
    same_query = inputs._replace(query=jnp.broadcast_to(inputs.query[:, :1], inputs.query.shape))
    out = run_compiled(spec, same_query, "recurrence", mask=Causal() & Padding(np.stack([real, real]))).out
    assert error(out[:, 6], out[:, 5]) < AGREEMENT


def test_the_rates_of_retention_are_those_of_the_paper():
    _, drawn = init("retention", jax.random.key(0), Sizes(8, 4, 8, 8, 8))
    np.testing.assert_allclose(np.exp(drawn["log_decay"]), [31 / 32, 63 / 64, 127 / 128, 255 / 256], rtol=1e-7)


def test_the_gate_of_mamba2_starts_at_the_steps_and_rates_of_its_authors():
    trained, _ = init("kimi_delta", jax.random.key(0), Sizes(8, 8, 64, 64, 64))
    rates, steps = np.exp(trained["log_rate"]), np.log1p(np.exp(trained["step_bias"]))
    assert 1 <= rates.min() < rates.max() <= 16
    assert steps.min() * 1.001 >= 0.001
    assert steps.max() <= 0.1 * 1.001
    np.testing.assert_allclose(np.median(steps), 0.01, rtol=0.3)


@pytest.mark.parametrize(("channel", "head"), [("gated_linear", "gated_retention"), ("kimi_delta", "gated_delta_net")])
def test_channels_that_decay_alike_are_a_head_that_decays(channel, head):
    inputs = inputs_of(head)
    gate = jnp.broadcast_to(inputs.per_token["gate"][..., None], inputs.key.shape)
    params = dict(inputs.params)
    if channel == "kimi_delta":
        params["step_bias"] = jnp.broadcast_to(params["step_bias"][:, None], (2, 8))
    by_channel = inputs._replace(params=params, per_token=inputs.per_token | {"gate": gate})
    ours = run_compiled(channel, by_channel, "recurrence", mask=Causal()).out
    assert error(ours, run_compiled(head, inputs, "recurrence", mask=Causal()).out) < AGREEMENT


def test_orthogonal_keys_have_nothing_to_replace():
    inputs = inputs_of("delta_net").with_tokens(lambda array: array[:1, :8])
    inputs = inputs._replace(key=jnp.broadcast_to(jnp.eye(8)[None, :, None], inputs.key.shape))
    strength = jax.nn.sigmoid(inputs.per_token["beta"])
    unit = inputs.query / jnp.linalg.norm(inputs.query, axis=-1, keepdims=True)
    written = jnp.repeat(strength[..., None] * inputs.value, 2, axis=2)
    expected = jnp.einsum("binj,ij,bjnv->binv", unit, jnp.tri(8), written) / 8**0.5
    np.testing.assert_allclose(run("delta_net", inputs, mask=Causal()).out, expected, rtol=1e-4, atol=1e-5)


def test_a_chunk_of_one_key_written_again_and_again_has_its_last_value():
    """The inverse of the chunk's matrix by its powers would overflow the mantissa: they grow as 2^64."""
    tokens = 64
    key = jnp.broadcast_to(jnp.eye(4)[0], (1, tokens, 1, 4))
    value = jax.random.normal(jax.random.key(0), (1, tokens, 1, 3))
    per_token = {"beta": jnp.full((1, tokens, 1), 40.0)}
    out = attend(2 * key, key, value, variant="delta_net", per_token=per_token, mask=Causal()).out
    np.testing.assert_allclose(out, value / 2, atol=1e-5)


def test_what_overflows_only_in_the_solve_is_not_felt_before_it():
    """Twice the largest number is what takes the one value out and writes the other; both are finite themselves."""
    inputs = make("delta_net")
    strong = inputs._replace(per_token={"beta": jnp.full_like(inputs.per_token["beta"], 40.0)})
    same_key = strong._replace(key=strong.key.at[:, 5].set(strong.key[:, 4]))
    largest = jnp.array([3e38, -3e38])[:, None, None]
    swinging = same_key._replace(value=same_key.value.at[:, 4:6].set(largest))
    weighing = np.ones((2, 7, 4, 5)) * (np.arange(7) < 4)[:, None, None]
    (out, gradients), (clean, clean_gradients) = (
        out_and_gradients("delta_net", case, weighing, engine="recurrence", mask=Causal())
        for case in (swinging, same_key)
    )
    assert same_bits(out[:, :4], clean[:, :4])
    assert np.isnan(out[:, 5:]).all()
    for ours, plain in zip(gradients.tokens, clean_gradients.tokens, strict=True):
        assert same_bits(ours[:, :4], plain[:, :4])


@pytest.mark.parametrize("spec", ["gated_linear", "gated_delta_net"])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_state_is_float32_whatever_the_inputs_are(spec, dtype):
    result = run(spec, make(spec, batch=1, dtype=dtype), mask=Causal(), outputs=("out", "state"))
    assert result.out.dtype == dtype
    assert result.state.total.dtype == jnp.float32


def test_a_recurrence_is_of_the_past():
    inputs = make("retention")
    with pytest.raises(Refused, match=r"retention runs from the past .* was given Padding: give mask=Causal\(\)"):
        run("retention", inputs, mask=Padding(np.array([7, 7])))
    with pytest.raises(Refused, match="engine dense cannot run retention here: it forms weights from queries and keys"):
        run("retention", inputs, mask=Causal(), engine="dense")


def test_the_recurrence_is_taken_and_every_other_engine_says_why_not():
    inputs = make("kimi_delta")
    told = explain(*inputs[:3], variant="kimi_delta", params=inputs.params, per_token=inputs.per_token, mask=Causal())
    assert [candidate.engine for candidate in told if candidate.qualified] == ["recurrence"]
    assert all(candidate.reason for candidate in told)


def test_inputs_that_are_missing_or_of_another_shape_are_refused():
    inputs = make("gated_linear")
    with pytest.raises(Refused, match=r"gated_linear takes per_token \['gate'\], not \[\]"):
        run("gated_linear", inputs._replace(per_token={}), mask=Causal())
    with pytest.raises(Refused, match=r"takes per_token\['gate'\] of shape \(2, 7, 2, 8\), .* not \(2, 7, 2\)"):
        run("gated_linear", inputs._replace(per_token={"gate": inputs.per_token["gate"][..., 0]}), mask=Causal())


@pytest.mark.parametrize("spec", ["gated_linear", "gated_retention"])
def test_a_temperature_that_is_not_positive_is_refused(spec):
    with pytest.raises(Refused, match=f"{spec} has temperature=0.0: it must be positive"):
        run(f"{spec}:temperature=0.0", make(spec), mask=Causal())
