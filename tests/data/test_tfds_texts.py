"""Labelled texts of a TFDS set: its splits and classes, sets with one label of several, what is refused."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data import tfds_texts

FIELDS = {"text": "text", "label": "label"}
EXAMPLES = {
    "train": [(b"Good film", 1), (b"bad film", 0), (b"bad", 0), (b"good", 1)],
    "test": [(b"good", 1), (b"worse", 0)],
}


class Feature:
    """What is asked of a feature of a TFDS set."""

    def __init__(self, kind: type, names: list[str] | None = None):
        self.np_dtype, self.shape, self.names = kind, (), names


class Builder:
    """What is asked of the builder of a TFDS set."""

    def __init__(self, features: dict[str, Feature], splits: tuple[str, ...]):
        self.info, self.features, self.splits = self, features, splits


@pytest.fixture
def stored(monkeypatch):
    """`stored(features, examples)` stands for a prepared TFDS set."""

    def store(features, examples):
        monkeypatch.setattr(tfds_texts, "open_prepared", lambda name: Builder(features, tuple(examples)))
        monkeypatch.setattr(tfds_texts, "read", lambda builder, split: iter(examples[split]))
        data.dataset._built.cache_clear()

    yield store
    data.dataset._built.cache_clear()


def named(examples):
    return {split: [{"text": text, "label": label} for text, label in of] for split, of in examples.items()}


CLASSES = {"text": Feature(bytes), "label": Feature(np.int64, ["neg", "pos"])}


def build(**options):
    return data.build("tfds_texts", **{"dataset": "films", "fields": FIELDS, "context": 4, **options})


def test_its_own_splits_are_read_and_validation_is_drawn(stored):
    stored(CLASSES, named(EXAMPLES))
    dataset = build(validation_fraction=0.5)
    assert dataset.facts["classes"] == ["neg", "pos"]
    assert {split: len(source) for split, source in dataset.splits.items()} == {"train": 2, "validation": 2, "test": 2}
    test = dataset.splits["test"]
    assert [*test.written] == ["good", "worse"]
    np.testing.assert_array_equal(test.gather(np.array([0, 1]))["label"], [1, 0])


def test_the_order_of_the_stored_examples_is_of_no_matter(stored):
    batches = []
    for examples in (EXAMPLES, {split: of[::-1] for split, of in EXAMPLES.items()}):
        stored(CLASSES, named(examples))
        batches.append(build(validation_fraction=0.5).splits["train"].gather(np.arange(2)))
    for name, array in batches[0].items():
        np.testing.assert_array_equal(array, batches[1][name])


def test_of_a_set_with_several_labels_the_examples_with_one_are_read(stored):
    features = {"text": Feature(bytes), "joy": Feature(np.bool_), "anger": Feature(np.bool_)}
    rows = [(b"a", 1, 0), (b"b", 0, 1), (b"c", 1, 1), (b"d", 0, 0)]
    examples = [{"text": text, "joy": bool(joy), "anger": bool(anger)} for text, joy, anger in rows]
    stored(features, {"train": examples, "validation": examples, "test": examples})
    dataset = build(fields={"text": "text", "label": "*"})
    assert dataset.facts["classes"] == ["anger", "joy"]
    assert [*dataset.splits["train"].written] == ["a", "b"]
    assert dataset.notes[0] == "2 of the 4 train texts of 'films' have no one label, and are left out"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fields": {"text": "text"}}, ["data.fields"]),
        ({"fields": {"text": "txt", "label": "label"}}, ["no field 'txt'", "data.fields.text", "Did you mean 'text'?"]),
        ({"fields": {"text": "label", "label": "label"}}, ["'label'", "is no text"]),
        ({"fields": {"text": "text", "label": "*"}}, ["no field that is true or false"]),
        ({"context": 1}, ["2 lower_words", "context=2"]),
    ],
)
def test_what_cannot_be_used_is_refused(stored, refused, options, words):
    stored(CLASSES, named(EXAMPLES))
    with refused(*words):
        build(validation_fraction=0.5, **options)


def test_a_label_of_the_test_split_alone_is_refused(stored, refused):
    stored(CLASSES, named({"train": [(b"a", 0), (b"b", 0), (b"c", 1), (b"d", 1)], "test": [(b"e", 0)]}))
    assert build(validation_fraction=0.5).facts["num_classes"] == 2
    names = {"text": Feature(bytes), "label": Feature(np.int64, ["neg", "pos", "odd"])}
    stored(names, named({"train": [(b"a", 0), (b"b", 1)], "test": [(b"e", 2)]}))
    with refused("'odd'", "test texts"):
        build()
