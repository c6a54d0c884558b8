"""MQAR is what its docstring says: the layout, the law of the gaps, the streams of the splits, the refusals."""

import numpy as np
import pytest
from scipy.stats import chisquare

from attention_jax import data

EVERYTHING = {"inputs", "targets", "weights", "asked"}


def draw(examples: int = 2000, split: str = "train", **options) -> dict[str, np.ndarray]:
    dataset = data.build("mqar", **{f"{split}_examples": examples}, **options)
    return dataset.splits[split].gather(np.arange(examples))


def gaps_of(batch: dict[str, np.ndarray], pairs: int) -> np.ndarray:
    """Returns the gap [N, pairs] of each key, in the order of the pairs."""
    rows, positions = np.nonzero(batch["weights"])
    asked = batch["inputs"][rows, positions].reshape(-1, 1, pairs)
    keys = batch["inputs"][:, 0 : 2 * pairs : 2, None]
    which = np.argmax(asked == keys, axis=2)
    return (np.take_along_axis(positions.reshape(-1, pairs), which, axis=1) - 2 * pairs) // 2 + 1


def law(space: int, power: float) -> np.ndarray:
    density = power * np.arange(1, space + 1) ** (power - 1)
    return density / density.sum()


def test_shapes_types_sizes_and_facts():
    dataset = data.build("mqar", train_examples=9000, validation_examples=7, test_examples=5)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 9000,
        "validation": 7,
        "test": 5,
    }
    assert dataset.facts == {"vocabulary_size": 8192, "length": 64}
    batch = dataset.splits["train"].gather(np.array([8999, 0]))
    assert {name: (value.dtype.name, value.shape) for name, value in batch.items()} == {
        "inputs": ("int32", (2, 64)),
        "targets": ("int32", (2, 64)),
        "weights": ("float32", (2, 64)),
        "asked": ("int32", (2, 4)),
    }


@pytest.mark.parametrize(
    "options",
    [
        {"vocabulary_size": 8192, "length": 64, "pairs": 4},
        {"vocabulary_size": 65, "length": 64, "pairs": 16},  # the tightest: every even place is asked, odd vocabulary
        {"vocabulary_size": 512, "length": 256, "pairs": 8, "power": 1.0},
        {"vocabulary_size": 9, "length": 4, "pairs": 1},
    ],
)
def test_every_key_is_asked_once_for_its_own_value_and_only_there_is_loss(options):
    batch = draw(**options)
    pairs, half = options["pairs"], options["vocabulary_size"] // 2
    keys, values = batch["inputs"][:, 0 : 2 * pairs : 2], batch["inputs"][:, 1 : 2 * pairs : 2]
    assert keys.min() >= 1
    assert keys.max() < half <= values.min()
    assert values.max() < options["vocabulary_size"]
    for drawn in (keys, values):
        assert (np.diff(np.sort(drawn), axis=1) > 0).all(), "drawn without replacement"
    assert set(np.unique(batch["weights"])) == {0.0, 1.0}
    np.testing.assert_array_equal(batch["weights"].sum(axis=1), pairs)
    rows, positions = np.nonzero(batch["weights"])
    assert (positions >= 2 * pairs).all()
    assert (positions % 2 == 0).all()
    asked = batch["inputs"][rows, positions].reshape(-1, pairs)
    np.testing.assert_array_equal(np.sort(asked), np.sort(keys))
    answers = np.take_along_axis(values, np.argmax(asked[:, :, None] == keys[:, None], axis=2), axis=1)
    np.testing.assert_array_equal(batch["targets"][rows, positions].reshape(-1, pairs), answers)
    assert (batch["targets"][batch["weights"] == 0] == 0).all()


@pytest.mark.parametrize("power", [0.01, 0.5, 1.0])
def test_the_gap_of_a_single_pair_follows_the_power_law(power):
    gaps = gaps_of(draw(50_000, length=32, pairs=1, power=power), 1)[:, 0]
    observed = np.bincount(gaps, minlength=16)[1:]
    assert len(observed) == 15
    assert chisquare(observed, 50_000 * law(15, power)).pvalue > 1e-3
    assert chisquare(observed, 50_000 * law(15, power + 0.1)).pvalue < 1e-6, "the test sees a law that is near"


def test_the_gaps_of_two_pairs_are_drawn_one_after_the_other_without_replacement():
    gaps = gaps_of(draw(50_000, length=16, pairs=2, power=0.01), 2) - 1
    p = law(6, 0.01)
    joint = p[:, None] * p / (1 - p[:, None])  # p(g1) p(g2) / (1 - p(g1))
    np.fill_diagonal(joint, 0)
    observed = np.zeros((6, 6))
    np.add.at(observed, tuple(gaps.T), 1)
    assert (np.diag(observed) == 0).all()
    off = ~np.eye(6, dtype=bool)
    assert chisquare(observed[off], 50_000 * joint[off]).pvalue > 1e-3


def test_tokens_are_uniform():
    batch = draw(50_000, vocabulary_size=18, length=16, pairs=4)
    for column, low, high in [(0, 1, 9), (6, 1, 9), (1, 9, 18), (7, 9, 18)]:
        assert chisquare(np.bincount(batch["inputs"][:, column], minlength=high)[low:high]).pvalue > 1e-3
    first_and_last = batch["inputs"][:, 0] * 9 + batch["inputs"][:, 6]
    counts = np.bincount(first_and_last, minlength=81).reshape(9, 9)[1:, 1:]
    assert chisquare(counts[~np.eye(8, dtype=bool)]).pvalue > 1e-3
    fillers = batch["inputs"][:, 9::2]  # odd places after the pairs are never asked
    assert chisquare(np.bincount(fillers.ravel(), minlength=18)).pvalue > 1e-3


def test_the_seed_fixes_everything_and_splits_and_seeds_are_unlike():
    splits = [draw(100, split, seed=seed) for seed in (0, 10) for split in ("train", "validation", "test")]
    again = draw(100, "validation", seed=0)
    assert all((again[field] == splits[1][field]).all() for field in EVERYTHING)
    rows = {tuple(row) for batch in splits for row in batch["inputs"]}
    assert len(rows) == 600


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"length": 63}, ["even", "63", "64"]),
        ({"length": 12, "pairs": 4}, ["length 12", "4 pairs", "length 16", "3 pairs"]),
        ({"vocabulary_size": 64}, ["vocabulary_size 64", "length 64", "65"]),
        ({"pairs": 0}, ["pairs 0"]),
        ({"power": 0.0}, ["power", "0.0"]),
        ({"power": float("nan")}, ["power", "nan"]),
        ({"test_examples": 0}, ["test_examples 0"]),
        ({"seed": -1}, ["seed", "-1"]),
    ],
)
def test_impossible_sizes_are_refused_with_a_way_out(refused, options, words):
    with refused("mqar", *words):
        data.build("mqar", **options)


def test_of_several_numbers_of_pairs_each_example_has_one():
    sizes = {"vocabulary_size": 64, "length": 32, "train_examples": 300, "validation_examples": 9, "test_examples": 6}
    dataset = data.build("mqar", pairs=(2, 4, 8), **sizes)
    assert dataset.facts == {"vocabulary_size": 64, "length": 32}
    weights = dataset.splits["train"].gather(np.arange(300))["weights"]
    counts = np.bincount(np.count_nonzero(weights, axis=1))
    assert counts.nonzero()[0].tolist() == [2, 4, 8]
    assert counts[[2, 4, 8]].min() > 70


@pytest.mark.parametrize(
    ("pairs", "said"),
    [((), "different ones"), ((4, 4), "different ones"), ((2, 9), "too short for 9 pairs"), ((0, 2), "pairs 0")],
)
def test_numbers_of_pairs_that_cannot_be_are_refused(refused, pairs, said):
    with refused("mqar", said):
        data.build("mqar", pairs=pairs, vocabulary_size=64, length=32)
