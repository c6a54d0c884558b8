"""Lengths chosen for the fewest tokens: against every choice there is, and what is refused."""

import itertools

import numpy as np
import pytest

from attention_jax.data.buckets import fewest_padding, lengths_of


def tokens(lengths: np.ndarray, chosen: tuple[int, ...]) -> int:
    return int(np.array(chosen)[np.searchsorted(chosen, lengths)].sum())


def shares(lengths: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    return np.bincount(np.searchsorted(chosen, lengths), minlength=len(chosen))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_lengths_need_fewer_tokens(number, seed):
    lengths = np.random.default_rng(seed).geometric(0.2, size=60)
    values = sorted({*lengths.tolist()})
    allowed = [
        choice
        for count in range(1, number + 1)
        for few in itertools.combinations(values[:-1], count - 1)
        if shares(lengths, choice := (*few, values[-1])).min() >= 60 / number / 4
    ]
    chosen = fewest_padding(lengths, number=number)
    assert chosen in allowed
    assert tokens(lengths, chosen) == min(tokens(lengths, choice) for choice in allowed)


def test_more_lengths_than_there_are_leave_no_padding():
    assert fewest_padding(np.array([3, 5, 5, 9]), number=7) == (3, 5, 9)


def test_a_rare_length_has_no_bucket_of_its_own():
    assert fewest_padding(np.array([4] * 50 + [8] * 49 + [100]), number=2) == (4, 100)


def test_the_longest_is_a_length_for_what_training_lacks():
    lengths = np.array([3, 3, 5])
    assert lengths_of(2, longest=9, lengths=lengths) == (3, 5, 9)
    assert lengths_of(2, longest=5, lengths=lengths) == (3, 5)
    assert lengths_of((4, 9), longest=9, lengths=lengths) == (4, 9)
    assert lengths_of((), longest=9, lengths=lengths) == (9,)


@pytest.mark.parametrize(
    ("buckets", "words"), [(0, ["buckets=0", "at least 1"]), ((4, 8), ["buckets (4, 8)", "the last of them length, 9"])]
)
def test_what_cannot_be_used_is_refused(refused, buckets, words):
    with refused(*words):
        lengths_of(buckets, longest=9, lengths=np.array([3]))
