"""Linformer's ways to share its projections, the lengths it is made for, and what it refuses."""

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, error, make, run
from attention_jax.kernels import Padding, Refused, Sizes, init, lookup
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

REAL = np.array([[1, 0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("sharing", ["none", "heads", "key_value"])
def test_each_sharing_is_the_equation_with_its_own_arrays(sharing):
    spec = f"linformer:rank=3,sharing={sharing}"
    inputs = make(spec, length=7)
    names = {"projection"} if sharing == "key_value" else {"key_projection", "value_projection"}
    assert inputs.params.keys() == names
    assert all(array.shape == ((2, 7, 3) if sharing == "none" else (7, 3)) for array in inputs.params.values())
    visible = np.broadcast_to(REAL[:, None, None], (2, 4, 7, 7))
    expected = oracle(equation(spec), *inputs, visible=visible).out
    assert error(run(spec, inputs, mask=Padding(REAL)).out, expected) < ROUNDING


def test_a_shorter_sequence_takes_the_first_places_and_a_longer_one_is_refused():
    spec, inputs = "linformer:rank=3", make("linformer:rank=3", length=7)
    short = inputs.with_tokens(lambda array: array[:, :4])
    padded = run(spec, inputs, mask=Padding(np.array([4, 4]))).out[:, :4]
    assert error(run(spec, short).out, padded) < ROUNDING
    with pytest.raises(Refused, match=r"was made for sequences of up to 7 tokens .* make it with length=9"):
        run(spec, make(spec, queries=9)._replace(params=inputs.params))


def test_what_leaves_no_key_is_refused():
    with pytest.raises(Refused, match="linformer:rank=0 leaves no key"):
        lookup("linformer:rank=0")
    with pytest.raises(Refused, match="linformer:sharing=layers is none of none, heads, key_value"):
        lookup("linformer:sharing=layers")
    with pytest.raises(Refused, match="say how long it can be"):
        init("linformer", jax.random.key(0), Sizes(4, 2, 8, 8, 5))
