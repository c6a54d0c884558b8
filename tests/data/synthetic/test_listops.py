"""ListOps is LRA's grammar: read again by a recursive parser, evaluated with the statistics module."""

import statistics

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data

OPERATIONS = {
    "[MAX": max,
    "[MIN": min,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}


def parse(words: list[str], at: int = 0, level: int = 1) -> tuple[int, int, int, list[tuple[str, int]]]:
    """Returns the value of the expression at a place, where it ends, its deepest level and its operations."""
    if words[at].isdigit():
        return int(words[at]), at + 1, level, []
    name, at, values, deepest, used = words[at], at + 1, [], level, []
    while words[at] != "]":
        value, at, below, more = parse(words, at, level + 1)
        values.append(value)
        deepest, used = max(deepest, below), used + more
    return OPERATIONS[name](values), at + 1, deepest, [*used, (name, len(values))]


def test_expressions_have_their_value_and_keep_their_limits():
    sizes = {"train_examples": 3000, "validation_examples": 10, "test_examples": 10}
    dataset = data.build("listops", depth=4, arguments=4, shortest=6, longest=40, **sizes)
    assert dataset.facts["num_classes"] == 10
    batch = dataset.splits["train"].gather(np.arange(3000))
    depths, used = [], []
    for tokens, length, label in zip(*(batch[name].tolist() for name in ("tokens", "lengths", "label")), strict=True):
        words = [dataset.facts["vocabulary"][token] for token in tokens]
        value, end, deepest, operations = parse(words)
        assert (value, end) == (label, length)
        assert 6 <= length <= 40
        assert not any(tokens[length:])
        depths.append(deepest)
        used += operations
    assert max(depths) == 4
    assert {count for _, count in used} == {2, 3, 4}
    names = [name for name, _ in used]
    assert chisquare([names.count(name) for name in OPERATIONS]).pvalue > 1e-3
    assert set(batch["label"]) == set(range(10))


def test_a_node_is_an_operation_once_in_four():
    """The law before lengths are chosen: with room for all, a quarter of the expressions are more than a digit."""
    sizes = {"train_examples": 4000, "validation_examples": 10, "test_examples": 10}
    lengths = (
        data.build("listops", depth=2, arguments=3, shortest=1, longest=5, **sizes)
        .splits["train"]
        .gather(np.arange(4000))["lengths"]
    )
    observed = np.bincount(lengths, minlength=6)
    assert chisquare(observed[[1, 4, 5]], 4000 * np.array([3 / 4, 1 / 8, 1 / 8])).pvalue > 1e-3
    assert observed.sum() == observed[[1, 4, 5]].sum()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 1}, ["depth 1", "at least 2"]),
        ({"arguments": 1}, ["arguments 1", "at least 2"]),
        ({"longest": 7}, ["longest 7", "its shortest, 8"]),
        ({"depth": 2}, ["8 to 64 tokens", "depth 2", "5 arguments"]),
        ({"shortest": 2, "longest": 3}, ["2 to 3 tokens"]),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(refused, options, words):
    with refused("listops", *words):
        data.build("listops", **options)
