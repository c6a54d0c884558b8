"""A block against its formula written out in NumPy, and the options a model hands to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from attention_jax.kernels import Causal, Refused
from attention_jax.layers import Backbone, Block, FeedForward, PositionEmbedding
from tests.layers.arrays import apply, normal, random_variables

HEADS, WIDTH, HIDDEN = 2, 8, 12
INPUTS = normal(2, 5, WIDTH)


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
    block = Block(attention="scaled_dot", num_heads=HEADS, hidden=HIDDEN, norm_position=position)
    variables = random_variables(block, INPUTS)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = np.asarray(INPUTS)
    for name, half in (("attention", attention), ("feed_forward", feed_forward)):
        normed = lambda x, name=name: norm(params[f"{name}_norm"], x)  # noqa: E731
        if position == "pre":
            expected = expected + half(params[name], normed(expected))
        else:
            expected = normed(expected + half(params[name], expected))
    out = apply(block, variables, INPUTS, mask=Causal())
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-5)


def test_feed_forward_takes_its_activation():
    layer = FeedForward(hidden=HIDDEN, activation="relu", use_bias=False)
    variables = random_variables(layer, INPUTS)
    params = variables["params"]
    expected = np.maximum(INPUTS @ params["hidden"]["kernel"], 0) @ params["out"]["kernel"]
    np.testing.assert_allclose(layer.apply(variables, INPUTS), expected, rtol=1e-5, atol=1e-5)


def test_what_each_half_adds_drops_out_and_the_residual_does_not():
    block = Block(attention="scaled_dot", num_heads=HEADS, hidden=HIDDEN, dropout_rate=0.999999)
    variables = random_variables(block, INPUTS)
    out = apply(block, variables, INPUTS, deterministic=False, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(out, INPUTS)
    assert float(jnp.abs(apply(block, variables, INPUTS) - INPUTS).max()) > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_position": "before"}, r"no norm_position 'before'"),
        ({"norm_position": "prost"}, r"no norm_position 'prost'\. Did you mean 'post'\?"),
        ({"activation": "silu"}, r"no activation 'silu'\. Did you mean 'relu'\?"),
    ],
)
def test_unknown_options_are_refused(options, message):
    block = Block(attention="scaled_dot", num_heads=HEADS, hidden=HIDDEN, **options)
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: block.init(jax.random.key(0), INPUTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, r"model\.num_layers=0: give at least 1"),
        ({"num_kv_heads": 0}, r"model\.num_kv_heads=0"),
        ({"hidden": 0}, r"model\.hidden=0"),
        ({"width": -8}, r"model\.width=-8"),
        ({"dropout_rate": 1.0}, r"model\.dropout_rate=1\.0: give a share in \[0, 1\)"),
        ({"dropout_rate": -0.1}, r"model\.dropout_rate=-0\.1"),
    ],
)
def test_sizes_that_leave_nothing_to_compute_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        Backbone(**options)


def test_positions_are_added_in_their_order_and_are_limited():
    layer = PositionEmbedding(length=7)
    variables = random_variables(layer, INPUTS)
    table = variables["params"]["embedding"]
    assert table.shape == (7, WIDTH)
    np.testing.assert_array_equal(layer.apply(variables, INPUTS), INPUTS + table[:5])
    with pytest.raises(Refused, match=r"^8 tokens are more than the 7 positions"):
        layer.apply(variables, normal(1, 8, WIDTH))
