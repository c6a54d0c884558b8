"""Luong's local attentions: what they refuse, and that padding is no part of the source."""

import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, make, run
from attention_jax.kernels import Padding, Refused, attend, lookup


@pytest.mark.parametrize("name", ["local_p", "local_m"])
def test_a_score_that_is_not_the_papers_and_an_empty_window_are_refused(name):
    with pytest.raises(Refused, match=f"{name}:score=dots is none of dot, general. Did you mean 'dot'"):
        lookup(f"{name}:score=dots")
    with pytest.raises(Refused, match=f"{name}:window=0 is too small: give at least 1"):
        lookup(f"{name}:window=0")


def test_the_predicted_place_is_among_the_real_keys():
    inputs, real = make("local_p:window=1"), np.array([[0, 1, 0, 1, 1, 0, 1]] * 2, bool)
    found = run("local_p:window=1", inputs, mask=Padding(real)).out
    source = {"key": inputs.key[:, real[0]], "value": inputs.value[:, real[0]]}
    alone = attend(inputs.query, **source, variant="local_p:window=1", params=inputs.params).out
    assert error(found, alone) < AGREEMENT
