"""Nystrom attention: its pseudo-inverse, landmarks of padding, and sequences that do not see each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, doubled, error, make, run_compiled
from attention_jax.kernels import Padding, Refused, lookup
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

SPEC = "nystrom:landmarks=5"
# Padding before, between and behind: of five segments of five places two hold nothing else.
REAL = np.ones((2, 23), bool)
REAL[0, [0, 1, 5, 6, 7, 8, 9, 12]] = False
REAL[1, 11:] = False


def test_the_six_iterations_of_the_paper_with_segments_of_nothing_but_padding():
    inputs = make(SPEC, queries=23)
    expected = oracle(equation(SPEC), *inputs, visible=np.broadcast_to(REAL[:, None, None], (2, 4, 23, 23))).out
    with jax.enable_x64(True):
        assert error(run_compiled(SPEC, doubled(inputs), mask=Padding(REAL)).out, expected) < 1e-12
    # The pseudo-inverse makes rounding larger.
    assert error(run_compiled(SPEC, inputs, mask=Padding(REAL)).out, expected) < 1e-4


def test_landmarks_that_are_the_tokens_come_near_scaled_attention_with_more_iterations():
    single = make("scaled_dot", queries=23)
    inputs = single.with_tokens(lambda array: jnp.repeat(array, 2, axis=1))
    exact = run_compiled("scaled_dot", inputs).out
    few, many = (error(run_compiled(f"nystrom:landmarks=23,iterations={n}", inputs).out, exact) for n in (6, 16))
    assert many < few < 0.2
    assert many < 2e-3


def test_with_no_more_tokens_than_landmarks_it_is_scaled_attention():
    inputs = make("scaled_dot", queries=23)
    for mask in (None, Padding(REAL)):
        expected = run_compiled("scaled_dot", inputs, mask=mask).out
        assert error(run_compiled("nystrom", inputs, mask=mask).out, expected) < AGREEMENT


def test_a_sequence_in_a_batch_is_as_it_is_alone():
    inputs = make(SPEC, queries=23)
    together = run_compiled(SPEC, inputs).out
    for at in range(2):
        alone = run_compiled(SPEC, inputs.with_tokens(lambda array, at=at: array[at : at + 1])).out
        assert error(together[at : at + 1], alone) < 10 * AGREEMENT


def test_what_padded_places_hold_does_not_count():
    inputs, other = make(SPEC, queries=23), make(SPEC, queries=23, seed=3, scale=30.0)
    changed = inputs.with_tokens(lambda one, two: jnp.where(REAL[..., None, None], one, two), other)
    found, expected = (np.asarray(run_compiled(SPEC, case, mask=Padding(REAL)).out)[REAL] for case in (changed, inputs))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("option", ["landmarks", "iterations"])
def test_none_at_all_is_refused(option):
    with pytest.raises(Refused, match=f"nystrom:{option}=0 leaves nothing to attend through: give at least 1"):
        lookup(f"nystrom:{option}=0")
