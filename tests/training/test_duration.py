"""The length of a run in steps, whichever way it is said."""

import pytest

from attention_jax.kernels import Refused
from attention_jax.training.duration import steps_of


def steps(**given: float) -> int:
    lengths = {"steps": None, "epochs": None, "examples": None}
    return steps_of(**{**lengths, **given}, batch_size=8, train_examples=20)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 2}, 5),
        ({"epochs": 1}, 3),
        ({"epochs": 0.1}, 1),
        ({"examples": 16}, 2),
        ({"examples": 17}, 3),
        ({"examples": 1}, 1),
        ({"steps": 7, "epochs": 0, "examples": 0}, 7),
        ({"steps": 0, "epochs": 0.0, "examples": 8}, 1),
    ],
)
def test_a_part_of_a_step_counts_as_one_and_zero_is_not_set(given, expected):
    assert steps(**given) == expected


def test_a_whole_number_of_steps_is_not_one_more_for_rounding():
    assert 2.2 * 25 > 55
    assert steps_of(steps=None, epochs=2.2, examples=None, batch_size=1, train_examples=25) == 55


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"^the length of a run is one of .*steps, epochs and examples are all 0: set one"),
        ({"steps": 0}, r"are all 0: set one"),
        ({"steps": 3, "epochs": 2.0}, r"steps=3 and epochs=2\.0 are set: set all but one to 0"),
        ({"steps": 3, "examples": 3}, r"steps=3 and examples=3 are set"),
        ({"steps": -3}, r"^steps=-3: a run cannot be shorter than nothing"),
        ({"epochs": -0.5}, r"^epochs=-0\.5: "),
    ],
)
def test_one_of_the_three_and_positive(given, message):
    with pytest.raises(Refused, match=message):
        steps(**given)
