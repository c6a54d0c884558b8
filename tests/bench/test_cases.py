"""The arrays that every contestant is given, and the numbers that their results are compared by."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.bench.cases import Case, LeftOut, arrays, compared_part, digest, free_bytes, imported

CASE = Case(who="attention_jax", process="one_device", batch=2, tokens=12, heads=3, width=4)


def test_the_arrays_are_the_same_each_time_and_not_of_each_other():
    first, again = arrays(CASE), arrays(CASE)
    assert [array.shape for array in first] == [(2, 12, 3, 4)] * 4
    assert all(array.dtype == np.float32 for array in first)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_the_first_tokens_are_the_same_numbers_however_many_follow():
    for short, long in zip(arrays(replace(CASE, tokens=5)), arrays(CASE), strict=True):
        np.testing.assert_array_equal(short, long[:, :5])


@pytest.mark.parametrize(("compared", "tokens"), [(0, list(range(6))), (2, [0, 1]), (-1, [5])])
def test_all_the_first_or_the_last_tokens_are_compared(compared, tokens):
    array = np.arange(6)[None, :, None, None]
    assert compared_part(array, compared).ravel().tolist() == tokens


def test_a_digest_finds_one_wrong_head():
    right = arrays(CASE)[0]
    wrong = right.copy()
    wrong[:, :, 2] += 1
    assert digest([right], 0) == digest([right.copy()], 0)
    assert digest([right], 0) != digest([wrong], 0)
    assert len(digest([right], 0, most=50)[0]) == 50


def test_a_missing_peer_is_left_out_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokamax", None)
    with pytest.raises(LeftOut, match=r"tokamax cannot be imported .*pip install -r requirements-bench.txt"):
        imported("tokamax")


def test_free_memory_is_a_number_of_bytes():
    assert 2**20 < free_bytes() < 2**50
