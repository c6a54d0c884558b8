"""Parity, group words and flip-flop, followed step by step in plain Python."""

import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data
from attention_jax.data.synthetic.group_words import multiplication_table

SIZES = {"train_examples": 400, "validation_examples": 100, "test_examples": 400}


def batch_of(name: str, split: str, **options) -> dict[str, np.ndarray]:
    source = data.build(name, **{**SIZES, **options}).splits[split]
    return source.gather(np.arange(len(source)))


@pytest.mark.parametrize("answers", ["last", "each"])
@pytest.mark.parametrize(("split", "lengths"), [("train", range(3, 41)), ("test", range(40, 257))])
def test_parity_is_that_of_the_ones_so_far(answers, split, lengths):
    batch = batch_of("parity", split, answers=answers)
    for bits, targets, weights, length in zip(
        *(batch[name].tolist() for name in ("inputs", "targets", "weights", "lengths")), strict=True
    ):
        assert length in lengths
        asked = range(length) if answers == "each" else [length - 1]
        assert [place for place, weight in enumerate(weights) if weight] == list(asked)
        for place in asked:
            assert targets[place] == sum(bits[: place + 1]) % 2
    assert chisquare(np.bincount(batch["lengths"] - lengths.start, minlength=len(lengths))).pvalue > 1e-3


@pytest.mark.parametrize(("group", "points", "size"), [("S3", 3, 6), ("S4", 4, 24), ("A5", 5, 60), ("S5", 5, 120)])
def test_group_words_are_answered_with_their_running_product(group, points, size):
    elements = [
        element
        for element in itertools.permutations(range(points))
        if group[0] == "S" or sum(one > two for one, two in itertools.combinations(element, 2)) % 2 == 0
    ]
    assert len(elements) == size
    batch = batch_of("group_words", "test", group=group, length=6, test_length=24)
    assert (batch["weights"] == 1).all()
    for word, states in zip(batch["inputs"][:100].tolist(), batch["targets"][:100].tolist(), strict=True):
        points_now = list(range(points))
        for token, state in zip(word, states, strict=True):
            points_now = [elements[token][point] for point in points_now]
            assert tuple(points_now) == elements[state]


def test_the_tables_are_those_of_groups_and_do_not_commute():
    for group in ("S3", "S4", "A5"):
        table = multiplication_table(group)
        size = len(table)
        np.testing.assert_array_equal(table[0], np.arange(size))
        np.testing.assert_array_equal(table[:, 0], np.arange(size))
        assert all(len(set(row)) == size for row in table.tolist())
        # (ab)c = a(bc)
        np.testing.assert_array_equal(table[table], table[:, table])
        assert (table != table.T).any()


def test_a_word_of_test_is_longer_and_the_model_is_told_so():
    dataset = data.build("group_words", length=8, test_length=20, **SIZES)
    assert dataset.facts == {"vocabulary_size": 6, "length": 20}
    shapes = {split: source.gather(np.arange(2))["inputs"].shape for split, source in dataset.splits.items()}
    assert shapes == {"train": (2, 8), "validation": (2, 8), "test": (2, 20)}


@pytest.mark.parametrize("name", ["parity", "group_words"])
def test_randomized_positions_rise_through_all_that_the_model_has(name):
    sizes = (
        {"longest": 6, "test_shortest": 6, "test_longest": 20} if name == "parity" else {"length": 6, "test_length": 20}
    )
    dataset = data.build(name, positions="randomized", **sizes, **{**SIZES, "train_examples": 4000})
    assert dataset.facts["length"] == 40
    for split, tokens in (("train", 6), ("test", 20)):
        source = dataset.splits[split]
        positions = source.gather(np.arange(len(source)))["positions"]
        assert positions.shape[1] == tokens
        assert (np.diff(positions, axis=1) > 0).all()
        assert (positions.min(), positions.max()) == (0, 39)
        if split == "train":
            assert chisquare(np.bincount(positions.ravel(), minlength=40)).pvalue > 1e-3, "each is trained alike"


def follow(tokens: list[int]) -> dict[int, int]:
    """Returns the answer of each read of a flip-flop string by its place."""
    memory, answers = None, {}
    for place in range(0, len(tokens), 2):
        instruction, bit = tokens[place : place + 2]
        assert instruction in (0, 1, 2)
        assert bit in (3, 4)
        if instruction == 0:
            memory = bit
        elif instruction == 1:
            assert bit == memory
            answers[place] = memory
    return answers


def test_flip_flop_reads_what_was_written_last():
    batch = batch_of("flip_flop", "test")
    for tokens, targets, weights in zip(
        *(batch[name].tolist() for name in ("inputs", "targets", "weights")), strict=True
    ):
        assert tokens[0] == 0
        assert tokens[-2] == 1
        answers = follow(tokens)
        assert {place for place, weight in enumerate(weights) if weight} == answers.keys()
        assert all(targets[place] == answer for place, answer in answers.items())


def test_flip_flop_ignores_as_often_as_told():
    rates = {}
    for ignore in ((0.8,), (0.98,), (0.1,), (0.0,), (1.0,)):
        instructions = batch_of("flip_flop", "train", ignore=ignore)["inputs"][:, 2:-2:2]
        rates[ignore[0]] = np.mean(instructions == 2)
        written, read = (np.mean(instructions == kind) for kind in (0, 1))
        assert written == pytest.approx(read, abs=0.02)
    assert rates == pytest.approx({rate: rate for rate in rates}, abs=0.02)


def test_flip_flop_tests_on_sparse_and_dense_strings_alike():
    instructions = batch_of("flip_flop", "test", length=256, test_examples=300)["inputs"][:, ::2]
    share = np.mean(instructions == 2, axis=1)
    kinds = [np.sum(np.abs(share - rate) < 0.15 if rate != 0.98 else share > 0.93) for rate in (0.8, 0.98, 0.1)]
    assert sum(kinds) == pytest.approx(300, abs=10)
    assert min(kinds) > 70


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("parity", {"longest": 2}, ["longest 2", "its shortest, 3"]),
        ("parity", {"answers": "all"}, ["answers 'all'", "each, last"]),
        ("parity", {"positions": "random"}, ["positions 'random'", "'randomized'"]),
        ("group_words", {"group": "S6"}, ["group 'S6'", "Did you mean"]),
        ("group_words", {"test_length": 0}, ["test_length 0"]),
        ("flip_flop", {"length": 7}, ["even length", "got 7"]),
        ("flip_flop", {"ignore": (1.5,)}, ["ignore (1.5,)", "(0.8,)"]),
        ("flip_flop", {"test_ignore": ()}, ["test_ignore ()"]),
        ("flip_flop", {"ignore": 0.8}, ["ignore 0.8", "(0.8,)"]),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(refused, name, options, words):
    with refused(name, *words):
        data.build(name, **options)
