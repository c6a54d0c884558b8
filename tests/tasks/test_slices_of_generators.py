"""Slicings of generated benchmarks, against what plain Python finds in the tokens."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.tasks.slicing import build_slicings
from tests.data.synthetic.small import SMALL

OF = {
    # A story is no sequence of tokens.
    "length": [name for name in SMALL if name != "stories"],
    "pairs": ["mqar", "compositional_mqar", "forgetting_mqar", "stacked_mqar", "copying"],
    "distance": ["mqar", "stacked_mqar", "forgetting_mqar", "associative_recall", "induction_heads"],
    "occurrences": ["forgetting_mqar"],
    "needle_depth": ["needle"],
    "write_distance": ["flip_flop"],
    "nesting": ["listops"],
    "position": ["parity", "group_words"],
}


def sliced(slicing: str, name: str, **options) -> tuple[dict[str, np.ndarray], list]:
    """Returns a few examples of test, all of one length, and the label of the slice of each item."""
    sizes = {"train_examples": 4, "validation_examples": 4, "test_examples": 60}
    source = data.build(name, **{**SMALL[name], **sizes, **options}).splits["test"]
    batch = next(data.evaluation_batches(source, batch_size=16))
    (found,) = build_slicings((slicing,))
    places = np.asarray(found.of(batch))
    count = found.count(np.zeros((16, 10)), batch)
    assert places.min() >= 0
    assert places.max() < count
    return batch, np.vectorize(found.label)(places).tolist()


def within(number: int, label: str) -> bool:
    low, _, high = label.rstrip("%").partition("-")
    return int(low) <= number <= int(high or low)


@pytest.mark.parametrize(("slicing", "name"), [(slicing, name) for slicing, names in OF.items() for name in names])
def test_every_item_is_in_one_of_its_slices(slicing, name):
    batch, labels = sliced(slicing, name)
    assert np.shape(labels) in [(16,), batch["tokens" if name == "listops" else "inputs"].shape[:2]]


@pytest.mark.parametrize("name", ["parity", "copying", "listops", "needle", "mqar"])
def test_length_is_that_of_the_real_tokens(name):
    batch, labels = sliced("length", name)
    tokens = batch["tokens" if name == "listops" else "inputs"]
    for length, label in zip(batch.get("lengths", np.full(16, tokens.shape[1])), labels, strict=True):
        assert within(int(length), label)


def test_needles_are_sliced_by_where_they_lie():
    batch, labels = sliced("needle_depth", "needle", lengths=(64,))
    for tokens, label in zip(batch["inputs"].tolist(), labels, strict=True):
        assert label.endswith("%")
        assert within(100 * tokens.index(10) // tokens.index(11), label)


def test_reads_are_sliced_by_how_long_ago_the_write_was():
    batch, labels = sliced("write_distance", "flip_flop")
    for row, place in zip(*np.nonzero(batch["weights"]), strict=True):
        written = max(at for at in range(0, place, 2) if batch["inputs"][row, at] == 0)
        assert within(int(place) - written, labels[row][place])


def test_expressions_are_sliced_by_their_open_brackets():
    batch, labels = sliced("nesting", "listops")
    seen = set()
    for tokens, label in zip(batch["tokens"].tolist(), labels, strict=True):
        opened = deepest = 0
        for token in tokens:
            opened += (10 <= token < 14) - (token == 14)
            deepest = max(deepest, opened)
        assert label == str(deepest)
        seen.add(deepest)
    assert len(seen) > 1


def test_keys_bound_anew_are_told_from_those_bound_once():
    batch, labels = sliced("occurrences", "forgetting_mqar")
    for row, place in zip(*np.nonzero(batch["weights"]), strict=True):
        tokens = batch["inputs"][row, :place].tolist()
        assert labels[row][place] == str(tokens.count(batch["inputs"][row, place])) in ("1", "2")
