"""A block against its formula written out in NumPy, and the options a model hands to it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from attention_jax.kernels import Causal, Padding, Refused
from attention_jax.layers import Block, FeedForward, Seen, StackOptions
from attention_jax.layers.depth import Stream
from tests.layers.arrays import apply, normal, random_variables

HEADS, WIDTH, HIDDEN = 2, 8, 12
INPUTS = normal(2, 5, WIDTH)
STREAM = Stream(INPUTS)


def options(**changes: Any) -> StackOptions:
    return StackOptions(**{"num_heads": HEADS, "width": WIDTH, "hidden": HIDDEN, "positions": "none", **changes})


def attention(params: dict, x: np.ndarray) -> np.ndarray:
    query, key, value = (
        np.einsum("btd,dnh->bnth", x, params[name]["kernel"]) + params[name]["bias"][:, None]
        for name in ("query", "key", "value")
    )
    logits = np.einsum("bnth,bnsh->bnts", query, key) / np.sqrt(WIDTH // HEADS)
    weights = np.exp(logits) * np.tril(np.ones(logits.shape[-2:]))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bnts,bnsh,nhd->btd", weights, value, params["out"]["kernel"]) + params["out"]["bias"]


def feed_forward(params: dict, x: np.ndarray) -> np.ndarray:
    hidden = x @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    return 0.5 * hidden * (1 + erf(hidden / np.sqrt(2))) @ params["out"]["kernel"] + params["out"]["bias"]


def norm(params: dict, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]


@pytest.mark.parametrize("position", ["pre", "post"])
def test_block_is_its_formula(position):
    block = Block(options(norm_position=position))
    variables = random_variables(block, STREAM, Seen())
    params = jax.tree.map(np.asarray, variables["params"])
    expected = np.asarray(INPUTS)
    for name, half in (("attention", attention), ("feed_forward", feed_forward)):
        normed = lambda x, name=name: norm(params[f"{name}_norm"], x)  # noqa: E731
        if position == "pre":
            expected = expected + half(params[name], normed(expected))
        else:
            expected = normed(expected + half(params[name], expected))
    out = apply(block, variables, STREAM, Seen(Causal()))[0].hidden
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)


def test_feed_forward_takes_its_activation():
    layer = FeedForward(options(activation="relu", use_bias=False))
    variables = random_variables(layer, INPUTS)
    params = variables["params"]
    expected = np.maximum(INPUTS @ params["hidden"]["kernel"], 0) @ params["out"]["kernel"]
    np.testing.assert_allclose(layer.apply(variables, INPUTS), expected, rtol=1e-5, atol=1e-5)


def test_what_each_half_adds_drops_out_and_the_residual_does_not():
    block = Block(options(dropout_rate=0.999999))
    variables = random_variables(block, STREAM, Seen())
    out = apply(block, variables, STREAM, Seen(), deterministic=False, rngs={"dropout": jax.random.key(0)})[0].hidden
    np.testing.assert_array_equal(out, INPUTS)
    assert float(jnp.abs(apply(block, variables, STREAM, Seen())[0].hidden - INPUTS).max()) > 0.1


def test_a_gate_multiplies_what_the_activation_gives():
    layer = FeedForward(options(activation="relu", gated=True))
    variables = random_variables(layer, INPUTS)
    hidden, gate, out = (variables["params"][name] for name in ("hidden", "gate", "out"))
    widened = np.maximum(INPUTS @ hidden["kernel"] + hidden["bias"], 0) * (INPUTS @ gate["kernel"] + gate["bias"])
    expected = widened @ out["kernel"] + out["bias"]
    np.testing.assert_allclose(layer.apply(variables, INPUTS), expected, rtol=1e-5, atol=1e-5)


def test_a_sandwich_is_normalised_before_and_after_each_half():
    block = Block(options(norm_position="sandwich", norm="rms"))
    variables = random_variables(block, STREAM, Seen())
    params = jax.tree.map(np.asarray, variables["params"])

    def scaled(name: str, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params[name]["scale"]

    expected = np.asarray(INPUTS)
    for name, half in (("attention", attention), ("feed_forward", feed_forward)):
        inner = half(params[name], scaled(f"{name}_norm", expected))
        expected = expected + scaled(f"{name}_out_norm", inner)
    out = apply(block, variables, STREAM, Seen(Causal()))[0].hidden
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)


def test_cross_attention_looks_at_the_memory_under_its_own_mask():
    block = Block(options(cross_attention="scaled_dot"))
    memory = normal(2, 3, WIDTH, seed=5)
    seen = Seen(Causal(), memory=memory, memory_mask=Padding(jnp.array([3, 2])))
    variables = random_variables(block, STREAM, seen)
    out = apply(block, variables, STREAM, seen)[0].hidden
    hidden = apply(block, variables, STREAM, seen._replace(memory=memory.at[1, 2].set(9.0)))[0].hidden
    np.testing.assert_array_equal(out, hidden)
    other = apply(block, variables, STREAM, seen._replace(memory=memory.at[1, 1].set(9.0)))[0].hidden
    assert (np.abs(np.asarray(other - out)).max(axis=(1, 2)) > 1e-3).tolist() == [False, True]
    assert set(variables["params"]) == {
        "attention", "attention_norm", "cross_attention", "cross_attention_norm", "feed_forward", "feed_forward_norm"
    }  # fmt: skip
    with pytest.raises(Refused, match=r"^cross_attention='scaled_dot' looks at a memory and there is none"):
        apply(block, variables, STREAM, Seen(Causal()))
