"""Numbers at the ends of their range: what is finite stays finite, and what only scales does not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    SPECS,
    accepting,
    claiming,
    claims,
    error,
    lookup,
    make,
    quick_jit,
    reference_engine,
    run,
    run_compiled,
    usual_mask,
    widely,
)
from attention_jax.contract.mask_cases import takes_mask
from attention_jax.kernels import Causal, FeatureMap, Refused, Sizes, SoftmaxScore, attend, init

# Variants that divide queries and keys by their norms.
DIRECTIONS = ("cosine", "delta_net", "gated_delta_net", "kimi_delta")
# Those with Mamba-2's gate.
SELECTIVE = ("mamba2", "gated_delta_net", "kimi_delta")
OF_DIRECTIONS = [spec for spec in SPECS if lookup(spec).name in DIRECTIONS]
OF_SELECTIVE = [spec for spec in SPECS if lookup(spec).name in SELECTIVE]


@pytest.mark.parametrize("scale", [1e30, 1e20, 1e-6, 1e-20, 1e-30])
@pytest.mark.parametrize("spec", OF_DIRECTIONS)
def test_the_length_of_a_vector_does_not_matter_where_only_its_direction_does(spec, scale):
    inputs, mask = make(spec), usual_mask(spec)
    scaled = inputs._replace(query=inputs.query * np.float32(scale), key=inputs.key * np.float32(scale))
    plain = run_compiled(spec, inputs, mask=mask).out
    for engine in accepting(spec, inputs, mask=mask):
        assert error(run_compiled(spec, scaled, engine, mask=mask).out, plain) < AGREEMENT


@pytest.mark.parametrize("spec", OF_DIRECTIONS)
def test_a_zero_vector_has_a_finite_gradient_that_can_move_it(spec):
    inputs = make(spec)
    inputs = inputs._replace(key=inputs.key.at[:, 2].set(0))
    mask, weighing = Causal(), jnp.cos(jnp.arange(5.0))[None, None, None]
    found = quick_jit(jax.grad(lambda i: (run(spec, i, mask=mask).out * weighing).sum()))(inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert np.abs(found.key[:, 2]).max() > 0


@functools.partial(quick_jit, static_argnames="spec")
def _loss_and_gradients(inputs, spec):
    return jax.value_and_grad(lambda i: (run(spec, i, mask=Causal()).out ** 2).sum())(inputs)


@pytest.mark.parametrize("log_rate", [-1e9, 0.0, 80.0, 89.0, 100.0, 1e9])
@pytest.mark.parametrize("gate", [-1e9, -200.0, 0.0, 200.0])
@pytest.mark.parametrize("spec", OF_SELECTIVE)
def test_a_gate_is_finite_whatever_its_rate_and_so_are_its_gradients(spec, gate, log_rate):
    inputs = make(spec)
    params = {**inputs.params, "log_rate": jnp.full_like(inputs.params["log_rate"], log_rate)}
    inputs = inputs._replace(
        params=params, per_token={**inputs.per_token, "gate": jnp.full_like(inputs.per_token["gate"], gate)}
    )
    out, found = _loss_and_gradients(inputs, spec)
    assert np.isfinite(out)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    if log_rate >= 80 and gate >= 0:
        np.testing.assert_array_equal(found.params["log_rate"], 0)


@pytest.mark.parametrize("spec", OF_SELECTIVE)
def test_a_fast_rate_with_a_step_of_nothing_keeps_all(spec):
    inputs = make(spec)
    gated = {**inputs.per_token, "gate": jnp.full_like(inputs.per_token["gate"], -200.0)}
    no_bias = jnp.zeros_like(inputs.params["step_bias"])
    still, fast = (
        inputs._replace(params={"log_rate": jnp.full((2,), rate), "step_bias": no_bias}, per_token=gated)
        for rate in (-jnp.inf, 100.0)
    )
    outs = (run_compiled(spec, case, mask=Causal()).out for case in (fast, still))
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("spec", claiming(weights=True))
def test_logits_near_the_largest_float_are_as_good_as_any(spec):
    mechanism = lookup(spec).mechanism
    if not isinstance(mechanism, SoftmaxScore) or mechanism.scale is not None or mechanism.soft_cap is not None:
        pytest.skip(f"{spec} scales its logits before the product, or bounds them")
    if claims(spec).fewest_keys > 2:
        pytest.skip(f"{spec} refuses two keys")
    # Products of 6e38 and 3e38 overflow, or nearly; divided by sqrt(8) they do not.
    inputs = make(spec, queries=2)
    large = inputs._replace(query=jnp.full_like(inputs.query, 8e18), key=jnp.full_like(inputs.key, 9.4e18))
    large = large._replace(key=large.key.at[:, 1].divide(2))
    mask = usual_mask(spec)
    for engine in accepting(spec, large, mask=mask):
        out = run_compiled(spec, large, engine, mask=mask).out
        np.testing.assert_allclose(out, np.repeat(inputs.value[:, :1], 2, axis=2) * np.ones((1, 2, 1, 1)), rtol=1e-6)


@pytest.mark.parametrize("mask", [None, Causal()], ids=["full", "causal"])
@pytest.mark.parametrize("spec", widely(SPECS))
def test_weights_are_not_rounded_to_a_narrower_value(spec, mask):
    if not takes_mask(spec, mask):
        pytest.skip("it needs a causal mask, or has no causal form")
    inputs = make(spec, queries=40)
    narrow = inputs._replace(value=inputs.value.astype(jnp.bfloat16))
    exact = narrow._replace(value=narrow.value.astype(jnp.float32))
    for engine in accepting(spec, narrow, mask=mask):
        assert error(*(run_compiled(spec, case, engine, mask=mask).out for case in (narrow, exact))) < AGREEMENT


def test_weights_of_a_million_keys_in_float16_are_not_rounded_away():
    keys = 2**20
    query = jnp.zeros((1, 1, 1, 1), jnp.float16)
    value = jnp.ones((1, keys, 1, 1), jnp.float16)
    for engine in ("dense", "blockwise", "decode"):
        out = attend(query, jnp.zeros_like(value), value, engine=engine).out
        np.testing.assert_allclose(out.ravel(), 1, rtol=1e-3)


def test_dtypes_that_no_engine_computes_with_are_refused():
    query = jnp.zeros((1, 2, 1, 4))
    for dtype in (jnp.float8_e4m3fn, jnp.int32, jnp.complex64, jnp.bool_):
        with pytest.raises(Refused, match=r"value is \w+: cast it to one of bfloat16, float16, float32, float64"):
            attend(query, query, query.astype(dtype))


@pytest.mark.parametrize("spec", SPECS)
def test_a_variants_arrays_are_float32_under_x64_too(spec):
    with jax.enable_x64(True):
        for arrays in init(spec, jax.random.key(0), Sizes(4, 2 if claims(spec).grouped else 4, 8, 8, 5, length=7)):
            assert {array.dtype for array in arrays.values()} <= {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("nearly", [0.0, 1e-3], ids=["equal keys", "nearly equal keys"])
@pytest.mark.parametrize("spec", [spec for spec in SPECS if "delta" in spec])
def test_writes_to_one_key_again_and_again_are_right_to_the_last_digits(spec, nearly):
    inputs = make(spec, queries=64, heads=2)
    key = inputs.key[:, :1] + nearly * inputs.key
    inputs = inputs._replace(
        key=key, per_token={**inputs.per_token, "beta": jnp.full_like(inputs.per_token["beta"], 30.0)}
    )
    found = run_compiled(spec, inputs, mask=Causal()).out
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), inputs)
        expected = run_compiled(spec, exact, mask=Causal()).out
    # A state that every write turns around keeps the rounding of them all.
    turns = lookup(spec).options.get("max_beta", (1, 1))[1] > 1
    assert error(found, expected) < (1e-4 if turns else 1e-5)


def test_which_engine_is_held_to_what():
    kinds = (SoftmaxScore, FeatureMap)
    assert all(reference_engine(spec) == "dense" for spec in SPECS if isinstance(lookup(spec).mechanism, kinds))
