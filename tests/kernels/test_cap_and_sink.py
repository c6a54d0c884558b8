"""A soft cap and a sink, held against their equations in NumPy float64, in several tiles."""

from pathlib import Path

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
    quick_jit,
    run,
    same_bits,
)
from attention_jax.kernels import Causal
from tests.kernels.random_problems import tiles

FILE = Path(__file__).with_name("own_attention.py")


def plain_softmax(inputs, bias, *, cap=None, sink=None):
    """(weights, the derivative of the cap, lse) of scaled dot products under a causal mask, in NumPy float64."""
    query, key = (np.asarray(array, np.float64) for array in inputs[:2])
    key = np.repeat(key, query.shape[2] // key.shape[2], axis=2)
    logits = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(query.shape[-1]) + np.asarray(bias, np.float64)
    slope = np.ones_like(logits)
    if cap is not None:
        slope, logits = 1 - np.tanh(logits / cap) ** 2, cap * np.tanh(logits / cap)
    scores = np.where(np.tri(query.shape[1], dtype=bool), np.exp(logits), 0)
    total = scores.sum(-1) + (0 if sink is None else np.exp(sink)[:, None])
    return scores / total[..., None], slope, np.log(total)


def attended(spec, inputs, bias, weighing):
    """(out, lse) and the gradients of <weighing, out> to the bias and to the params, in several tiles."""

    def total(bias, params):
        with tiles(16, 5, 9):
            result = run(
                spec,
                inputs._replace(params=params),
                bias=bias,
                mask=Causal(),
                engine="blockwise",
                outputs=("out", "lse"),
            )
        return (result.out * weighing).sum(), (result.out, result.lse)

    return quick_jit(jax.grad(total, argnums=(0, 1), has_aux=True))(bias, inputs.params)


def of_bias(weights, slope, value, weighing):
    """The gradient of <weighing, out> to the logits before the cap, in NumPy float64: Dao 2023, algorithm 2."""
    of_weights = np.einsum("btnh,bsnh->bnts", weighing, value)
    return weights * (of_weights - (weights * of_weights).sum(-1, keepdims=True)) * slope


def test_the_soft_cap_is_taken_after_the_bias_and_before_the_mask_and_has_its_derivative():
    spec = f"{FILE}:capped:cap=1.5"
    inputs = make(spec, queries=23, kv_heads=4)
    bias, weighing = 2 * np.random.default_rng(0).normal(size=(1, 4, 23, 23)), like_output(inputs)
    (of_logits, _), (out, lse) = attended(spec, inputs, jnp.asarray(bias, jnp.float32), weighing)
    weights, slope, expected_lse = plain_softmax(inputs, bias, cap=1.5)
    value = np.asarray(inputs.value, np.float64)
    assert error(out, np.einsum("bnts,bsnh->btnh", weights, value)) < AGREEMENT
    assert error(lse, expected_lse) < AGREEMENT
    expected = of_bias(weights, slope, value, weighing).sum(0, keepdims=True)
    assert error(of_logits, expected) < GRADIENT_AGREEMENT


def test_a_sink_takes_its_share_of_every_row_and_has_its_gradient():
    spec = f"{FILE}:sunk"
    inputs = make(spec, queries=23, kv_heads=4)
    weighing, value = like_output(inputs), np.asarray(inputs.value, np.float64)
    (of_logits, of_params), (out, lse) = attended(spec, inputs, jnp.zeros((1, 4, 23, 23)), weighing)
    sink = np.asarray(inputs.params["sink"], np.float64)
    weights, slope, expected_lse = plain_softmax(inputs, 0.0, sink=sink)
    expected = np.einsum("bnts,bsnh->btnh", weights, value)
    assert error(out, expected) < AGREEMENT
    assert error(lse, expected_lse) < AGREEMENT
    assert error(of_logits, of_bias(weights, slope, value, weighing).sum(0, keepdims=True)) < GRADIENT_AGREEMENT
    of_sink = -(np.exp(sink[:, None] - expected_lse) * np.einsum("btnh,btnh->bnt", weighing, expected)).sum((0, 2))
    assert error(of_params["sink"], of_sink) < GRADIENT_AGREEMENT


@pytest.mark.parametrize("engine", ["blockwise", "dense"])
def test_a_sink_of_zero_is_softmax_1_and_one_of_minus_infinity_is_none(engine):
    spec = f"{FILE}:sunk"
    inputs = make(spec)
    with_sink = {
        start: run(spec, inputs._replace(params={"sink": jnp.full(4, start)}), engine=engine, outputs=("out", "lse"))
        for start in (0.0, -jnp.inf)
    }
    without = run("scaled_dot", inputs._replace(params={}), engine=engine, outputs=("out", "lse"))
    assert same_bits(with_sink[-jnp.inf], without)
    share = 1 / (1 + np.exp(-np.asarray(without.lse, np.float64)))
    assert error(with_sink[0.0].out, without.out * share.swapaxes(1, 2)[..., None]) < AGREEMENT
    assert error(with_sink[0.0].lse, np.log1p(np.exp(np.asarray(without.lse, np.float64)))) < AGREEMENT
