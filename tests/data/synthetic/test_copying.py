"""Copying, reversing, sorting and selective copying, worked out again in plain Python."""

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data

SIZES = {"train_examples": 500, "validation_examples": 100, "test_examples": 500}


def rows(dataset: data.Dataset, split: str, *names: str):
    source = dataset.splits[split]
    batch = source.gather(np.arange(len(source)))
    return zip(*(batch[name].tolist() for name in names), strict=True)


@pytest.mark.parametrize(("order", "rearrange"), [("given", list), ("reversed", reversed), ("sorted", sorted)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_answers_are_the_items_in_order(order, rearrange, split):
    dataset = data.build("copying", order=order, longest=12, test_shortest=10, test_longest=25, **SIZES)
    assert dataset.facts == {"vocabulary_size": 27, "length": 50}
    counts = set()
    for tokens, targets, weights, length in rows(dataset, split, "inputs", "targets", "weights", "lengths"):
        count = tokens.index(26)
        counts.add(count)
        answers = list(rearrange(tokens[:count]))
        assert length == 2 * count
        assert tokens[count + 1 : length] == answers[:-1]
        assert targets[count:length] == answers
        assert [place for place, weight in enumerate(weights) if weight] == list(range(count, length))
        assert not any(tokens[length:])
        assert not any(targets[length:])
    assert counts == set(range(5, 13) if split == "train" else range(10, 26))


def test_selective_copying_keeps_the_order_of_the_tokens():
    dataset = data.build("selective_copying", length=40, tokens=6, **SIZES)
    for tokens, targets, weights in rows(dataset, "train", "inputs", "targets", "weights"):
        assert tokens.index(15) == 33
        copied = [token for token in tokens[:33] if token != 14]
        assert len(copied) == 6
        assert targets[34:] == copied
        assert tokens[34:] == [14] * 6
        assert weights == [0.0] * 34 + [1.0] * 6


def test_selective_copying_puts_blanks_anywhere_also_after_the_last_token():
    """MAD's never come after the last token to copy."""
    sizes = {"train_examples": 3000, "validation_examples": 1, "test_examples": 1}
    inputs = (
        data.build("selective_copying", length=16, tokens=3, **sizes).splits["train"].gather(np.arange(3000))["inputs"]
    )
    body = inputs[:, :12]
    assert np.mean(body[:, -1] == 14) == pytest.approx(9 / 12, abs=0.05)
    assert chisquare(np.sum(body != 14, axis=0)).pvalue > 1e-3, "each place holds a token alike"
    assert chisquare(np.bincount(body[body != 14], minlength=14)).pvalue > 1e-3, "each token comes alike"


def test_no_blank_is_left_where_there_is_no_room():
    dataset = data.build("selective_copying", length=13, tokens=6, **SIZES)
    assert all(14 not in tokens[:6] for (tokens,) in rows(dataset, "train", "inputs"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("copying", {"order": "sort"}, ["order 'sort'", "'sorted'"]),
        ("copying", {"shortest": 0}, ["shortest 0", "at least 1"]),
        ("copying", {"longest": 4}, ["longest 4", "its shortest, 5"]),
        ("copying", {"test_longest": 4}, ["test_longest 4", "5 or more"]),
        ("copying", {"vocabulary_size": 1}, ["vocabulary_size 1", "at least 2"]),
        ("selective_copying", {"length": 16}, ["length 16", "8 tokens", "length 17", "at most 7 tokens"]),
        ("selective_copying", {"tokens": 0}, ["tokens 0"]),
        ("selective_copying", {"vocabulary_size": 2}, ["vocabulary_size 2"]),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(refused, name, options, words):
    with refused(name, *words):
        data.build(name, **options)
