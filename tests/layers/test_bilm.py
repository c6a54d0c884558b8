"""A language model in both directions: each layer sees one side alone, and their sum is Peters et al.'s equation 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.layers.bilm import BilmLayers, BilmOptions, ScalarMix

RNG = np.random.default_rng(0)
LAYERS = RNG.normal(size=(3, 2, 4, 6))
OPTIONS = BilmOptions(num_layers=2, width=5, filters=4, character_width=3, window=2)


def mixed(layers: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """gamma sum_j softmax(s)_j h_j, in plain loops."""
    exponents = [np.exp(weight) for weight in weights]
    out = np.zeros(layers.shape[1:])
    for place in np.ndindex(*out.shape):
        for layer, exponent in enumerate(exponents):
            out[place] += scale * exponent / sum(exponents) * layers[layer][place]
    return out


def test_the_mix_of_layers_is_equation_1():
    weights, scale = RNG.normal(size=3), 1.7
    params = {"mix_weights": jnp.array(weights, jnp.float32), "mix_scale": jnp.float32(scale)}
    out = ScalarMix().apply({"params": params}, [jnp.array(layer, jnp.float32) for layer in LAYERS])
    np.testing.assert_allclose(out, mixed(LAYERS, weights, scale), rtol=1e-5, atol=1e-6)


def test_the_mix_starts_as_the_mean_of_the_layers():
    out, _ = ScalarMix().init_with_output(jax.random.key(0), [jnp.array(layer, jnp.float32) for layer in LAYERS])
    np.testing.assert_allclose(out, LAYERS.mean(0), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_mix_is_that_of_equation_1():
    weights, scale, eps = RNG.normal(size=3), 0.6, 1e-5
    params = {"mix_weights": jnp.array(weights, jnp.float32), "mix_scale": jnp.float32(scale)}

    def loss(params):
        return jnp.sum(jnp.sin(ScalarMix().apply({"params": params}, list(jnp.array(LAYERS)))))

    def exact(weights, scale):
        return np.sin(mixed(LAYERS, weights, scale)).sum()

    found = jax.grad(loss)(params)
    for place, step in enumerate(np.eye(3) * eps):
        slope = (exact(weights + step, scale) - exact(weights - step, scale)) / (2 * eps)
        assert found["mix_weights"][place] == pytest.approx(slope, abs=1e-3)
    slope = (exact(weights, scale + eps) - exact(weights, scale - eps)) / (2 * eps)
    assert found["mix_scale"] == pytest.approx(slope, abs=1e-3)


@pytest.fixture(scope="module")
def run():
    """`run(characters, lengths)`: the layers of one model."""
    model = BilmLayers(OPTIONS, 9)
    variables = model.init(jax.random.key(0), jnp.ones((1, 2, 3), jnp.int32))
    return jax.jit(lambda characters, lengths: model.apply(variables, characters, lengths))


CHARACTERS = RNG.integers(1, 9, size=(2, 6, 3)).astype(np.int32)
LENGTHS = np.array([6, 4], np.int32)


def test_a_direction_sees_its_own_side_alone(run):
    before = run(CHARACTERS, LENGTHS)
    changed = CHARACTERS.copy()
    changed[0, 3] = 1 + changed[0, 3] % 8
    after = run(changed, LENGTHS)
    for old, new in zip(before[1:], after[1:], strict=True):
        moved = np.abs(np.array(old - new)[0]).max(-1, initial=0, where=np.arange(10) < 5) > 0
        np.testing.assert_array_equal(moved, np.arange(6) >= 3)
        moved = np.abs(np.array(old - new)[0]).max(-1, initial=0, where=np.arange(10) >= 5) > 0
        np.testing.assert_array_equal(moved, np.arange(6) <= 3)


def test_padding_touches_nothing_and_is_0(run):
    loud = CHARACTERS.copy()
    loud[1, 4:] = 8
    for one, other in zip(run(CHARACTERS, LENGTHS), run(loud, LENGTHS), strict=True):
        np.testing.assert_array_equal(one, other)
        assert not np.array(one)[1, 4:].any()
    alone = run(CHARACTERS[1:, :4], LENGTHS[1:])
    for one, other in zip(run(CHARACTERS, LENGTHS), alone, strict=True):
        np.testing.assert_allclose(np.array(one)[1, :4], other[0], rtol=1e-5, atol=1e-6)


def test_a_sentence_of_no_word_is_finite(run):
    assert all(np.isfinite(layer).all() for layer in run(CHARACTERS, np.array([0, 1], np.int32)))


@pytest.mark.parametrize("option", [{"num_layers": -1}, {"width": 0}, {"filters": 0}, {"dropout_rate": 1.0}])
def test_options_that_leave_nothing_are_refused(option):
    with pytest.raises(Refused, match=next(iter(option))):
        BilmOptions(**option)
