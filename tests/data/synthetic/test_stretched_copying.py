"""Stretched copying, worked out again in plain Python."""

from itertools import groupby, pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data

SIZES = {"train_examples": 500, "validation_examples": 50, "test_examples": 50}


def batch_of(split: str = "train", **options) -> dict[str, np.ndarray]:
    source = data.build("stretched_copying", **{**SIZES, **options}).splits[split]
    return source.gather(np.arange(len(source)))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("longest", [1, 4])
def test_the_target_has_each_stretch_of_the_source_once(split, longest):
    batch = batch_of(split, length=12, longest_stretch=longest)
    lengths = set()
    for row, source in enumerate(batch["source"].tolist()):
        assert source[-1] == 2
        stretches = [(symbol, len(list(group))) for symbol, group in groupby(source[:-1])]
        assert all(count <= longest for _, count in stretches)
        target = [*(symbol for symbol, _ in stretches), 2]
        count = len(target)
        lengths.add(count)
        padding = [0] * (12 - count)
        assert batch["targets"][row].tolist() == target + padding
        assert batch["inputs"][row].tolist() == [1, *target[:-1], *padding]
        assert batch["weights"][row].tolist() == [1.0] * count + [0.0] * len(padding)
        assert (batch["target_lengths"][row], batch["source_lengths"][row]) == (count, 12)
    assert lengths == {12} if longest == 1 else len(lengths) > 3


def test_symbols_steps_and_stretches_are_drawn_alike():
    source = batch_of(vocabulary_size=8, length=40, train_examples=2000)["source"][:, :-1]
    assert chisquare(np.bincount(source[:, 0] - 3, minlength=5)).pvalue > 1e-3
    inner = [[(symbol, len(list(group))) for symbol, group in groupby(row)][:5] for row in source.tolist()]
    counts = np.bincount([count for row in inner for _, count in row])
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 1e-3
    steps = [(one - other) % 5 for row in inner for (other, _), (one, _) in pairwise(row)]
    assert chisquare(np.bincount(steps, minlength=5)[1:]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary_size": 4}, ["vocabulary_size 4", "at least 5"]),
        ({"length": 1}, ["length 1", "at least 2"]),
        ({"longest_stretch": 0}, ["longest_stretch 0", "at least 1"]),
        ({"length": 4, "longest_stretch": 4}, ["longest_stretch 4", "length 4", "3 or less"]),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(refused, options, words):
    with refused("stretched_copying", *words):
        data.build("stretched_copying", **options)
