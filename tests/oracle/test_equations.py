"""The oracle on cases worked out by hand: what everything else is held against must itself be right."""

import numpy as np
import pytest

from attention_jax.kernels import names
from tests.oracle.equations import equation, known
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
    # Of the scores sqrt(2) and 0 a half of 1 + their difference would be above 1: the first has all.
    "sparsemax": ({}, 1.0),
    # [x - tau]^2 + tau^2 = 1 with x = 1 / sqrt(2), where 0 - tau is the root of the second.
    "entmax15": ({}, (0.5 * (0.5**0.5 + (2 - 0.5) ** 0.5)) ** 2),
    "top_k:k=1": ({}, 1.0),
    "top_k:k=2": ({}, 1 / (1 + np.exp(-SQUARE_ROOT_OF_2))),
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


# Two steps with keys (1, 0) and (0, 3), values 1 and 0, and the query (2, 0). A gate of log 3 is sigmoid 3/4, softplus
# log 4; a rate of 1 and no bias make of it a decay of 1/4.
GATE, ONE_RATE = np.log(3.0), {"log_rate": np.zeros(1), "step_bias": np.zeros(1)}
RECURRENCES_BY_HAND = {
    "retention": ({"log_decay": np.log([31 / 32])}, {}, 31 / 32 * SQUARE_ROOT_OF_2),
    "gated_retention:temperature=2.0": ({}, {"gate": [GATE, GATE]}, 0.75**0.5 * SQUARE_ROOT_OF_2),
    "gated_linear:temperature=1.0": ({}, {"gate": [[0, 0], [GATE, 9]]}, 0.75 * SQUARE_ROOT_OF_2),
    "mamba2": (ONE_RATE, {"gate": [0, GATE]}, 2 * 0.25 * np.log(2)),
    "delta_net": ({}, {"beta": [GATE, 0]}, 0.75 / SQUARE_ROOT_OF_2),
    "gated_delta_net": (ONE_RATE, {"gate": [0, GATE], "beta": [GATE, 0]}, 0.75 * 0.25 / SQUARE_ROOT_OF_2),
    "kimi_delta": (
        {"log_rate": np.zeros(1), "step_bias": np.zeros((1, 2))},
        {"gate": [[0, 0], [GATE, 9]], "beta": [GATE, 0]},
        0.75 * 0.25 / SQUARE_ROOT_OF_2,
    ),
}


@pytest.mark.parametrize("spec", RECURRENCES_BY_HAND)
def test_two_steps_worked_out_by_hand(spec):
    params, per_token, expected = RECURRENCES_BY_HAND[spec]
    per_token = {name: np.asarray(array)[None, :, None] for name, array in per_token.items()}
    result = oracle(equation(spec), QUERY, KEY, VALUE, params, per_token, visible=BOTH)
    np.testing.assert_allclose(result.out.ravel(), [expected], rtol=1e-6)


def test_a_delta_rule_of_full_strength_replaces_what_the_key_had():
    keys, values = KEY[:, [0, 0]], np.array([[[[1.0]], [[7.0]]]])
    result = oracle(equation("delta_net"), QUERY, keys, values, {}, {"beta": np.full((1, 2, 1), 40.0)}, visible=BOTH)
    np.testing.assert_allclose(result.out.ravel(), [7 / SQUARE_ROOT_OF_2], rtol=1e-5)


def test_every_variant_of_the_library_has_an_equation():
    assert [name for name in names() if not known(name)] == []
