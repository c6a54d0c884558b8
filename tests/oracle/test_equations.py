"""The oracle on cases worked out by hand: what everything else is held against must itself be right."""

import numpy as np
import pytest

from attention_jax.kernels import names
from tests.oracle.equations import EQUATIONS, equation
from tests.oracle.loops import oracle

QUERY = np.array([[[[2.0, 0.0]]]])
KEY = np.array([[[[1.0, 0.0]], [[0.0, 3.0]]]])
VALUE = np.array([[[[1.0]], [[0.0]]]])
BOTH = np.ones((1, 1, 1, 2), bool)
SQUARE_ROOT_OF_2 = 2**0.5

# Each gives exp(first score) : exp(second), or first : second, and so the weight of the first key.
BY_HAND = {
    "scaled_dot": ({}, 1 / (1 + np.exp(-SQUARE_ROOT_OF_2))),
    "scaled_dot:scale=3.0": ({}, 1 / (1 + np.exp(-6))),
    "sliding_window:window=1": ({}, 1.0),
    "cosine": ({"log_beta": np.log([5.0])}, 1 / (1 + np.exp(-5))),
    "general": ({"weight": np.array([[[0.0, 1.0], [0.0, 0.0]]])}, 1 / (1 + np.exp(6))),
    "additive": (
        {"query": np.array([[[1.0], [0.0]]]), "key": np.array([[[1.0], [0.0]]]), "value": np.array([[2.0]])},
        1 / (1 + np.exp(2 * (np.tanh(2) - np.tanh(3)))),
    ),
    "linear": ({}, (3 * 2 + 1 * 1) / ((3 * 2 + 1 * 1) + (3 * 1 + 1 * 4))),
    "performer": ({"projection": np.zeros((4, 2))}, 1 / (1 + np.exp((1 - 9) / (2 * SQUARE_ROOT_OF_2)))),
    "uniform": ({}, 0.5),
}


@pytest.mark.parametrize("spec", BY_HAND)
def test_weights_worked_out_by_hand(spec):
    params, weight = BY_HAND[spec]
    result = oracle(equation(spec), QUERY, KEY, VALUE, params, visible=BOTH)
    np.testing.assert_allclose(result.weights[0, 0, 0], [weight, 1 - weight], atol=1e-12)
    np.testing.assert_allclose(result.out.ravel(), [weight], atol=1e-12)


def test_a_row_with_no_key_is_zero_and_has_no_normaliser():
    result = oracle(equation("scaled_dot"), QUERY, KEY, VALUE, {}, visible=~BOTH)
    assert result.out.sum() == result.weights.sum() == 0
    assert result.lse.item() == -np.inf


def test_lse_bias_and_dropout_by_hand():
    keep = np.array([[[[True, False]]]])
    result = oracle(
        equation("scaled_dot:scale=1.0"), QUERY, KEY, VALUE, {}, visible=BOTH, bias=[0, 2], keep=keep, rate=0.5
    )
    np.testing.assert_allclose(result.lse.item(), np.log(np.exp(2) + np.exp(2)))
    np.testing.assert_allclose(result.weights.ravel(), [0.5 / (1 - 0.5), 0])


def test_every_variant_of_the_library_has_an_equation():
    assert set(names()) <= set(EQUATIONS)
