"""Labelled texts of a table: what the batches hold, how they are split, and what is refused."""

import itertools

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused

ROWS = [("good " * (number % 4) + "day", "yes") for number in range(20)] + [("bad\n" + "x" * 3, "no")] * 10
OPTIONS = {"context": 20, "validation_fraction": 0.2, "test_fraction": 0.1}


def table(rows: list[tuple[str, str]], *, separator: str = ",") -> str:
    quoted = [f'"{text}"{separator}{label}\n' for text, label in rows]
    return f"text{separator}label\n" + "".join(quoted)


@pytest.fixture
def build(tmp_path):
    """`build(content, **options)` is the data set of the file that holds the content."""

    def make(content: str = table(ROWS), name: str = "texts.csv", **options) -> data.Dataset:
        path = tmp_path / name
        path.write_bytes(content.encode())
        return data.build("text_classification", **{"path": str(path), **OPTIONS, **options})

    return make


def rows_of(dataset: data.Dataset, split: str, *, joint: str = "") -> list[tuple[str, str]]:
    """Returns the texts and labels that the examples of a split spell."""
    source, facts = dataset.splits[split], dataset.facts
    found = []
    for number in range(len(source)):
        batch = source.gather(np.array([number]))
        assert {name: array.dtype for name, array in batch.items()} == dict.fromkeys(
            ("tokens", "lengths", "label"), np.int32
        )
        assert (batch["tokens"][0, batch["lengths"][0] :] == 0).all()
        tokens = batch["tokens"][0, : batch["lengths"][0]]
        found.append((joint.join(facts["vocabulary"][token] for token in tokens), facts["classes"][batch["label"][0]]))
    return found


@pytest.mark.parametrize("name", ["texts.csv", "texts.tsv"])
@pytest.mark.parametrize("buckets", [(), (4, 8, 20)])
def test_every_text_is_in_one_split_and_classes_have_the_same_share_in_each(build, name, buckets):
    dataset = build(table(ROWS, separator="\t" if name.endswith("tsv") else ","), name, buckets=buckets)
    found = {split: rows_of(dataset, split) for split in dataset.splits}
    assert sorted(itertools.chain(*found.values())) == sorted(ROWS)
    counts = {
        split: [sum(label == name for _, label in rows) for name in ("no", "yes")] for split, rows in found.items()
    }
    assert counts == {"train": [7, 14], "validation": [2, 4], "test": [1, 2]}
    letters = sorted({letter for text, _ in found["train"] for letter in text})
    assert dataset.facts == {
        "vocabulary": ["<unknown>", *letters],
        "vocabulary_size": 1 + len(letters),
        "length": 20,
        "classes": ["no", "yes"],
        "num_classes": 2,
    }


def test_the_seed_fixes_the_splits(build):
    first, other = (rows_of(build(seed=seed), "validation") for seed in (0, 1))
    assert first != other
    assert first == rows_of(build(seed=0), "validation")
    assert build(test_fraction=0.0).splits.keys() == {"train", "validation"}


def test_texts_are_padded_to_their_bucket_and_to_the_context_without_any(build):
    batches = data.train_batches(build(buckets=(4, 8, 20)).splits["train"], batch_size=3, seed=0)
    for batch in itertools.islice(batches, 12):
        length = batch["tokens"].shape[1]
        assert ((batch["lengths"] <= length) & (batch["lengths"] > {4: -1, 8: 4, 20: 8}[length])).all()
    batch = next(data.train_batches(build().splits["train"], batch_size=3, seed=0))
    assert batch["tokens"].shape == (3, 20)


def test_words_stand_between_blanks_and_those_that_training_has_not_are_unknown(build):
    rows = [(f"the  word{number} ", "a" if number % 2 else "b") for number in range(20)]
    dataset = build(table(rows), tokens="words", context=2)
    train, validation = (rows_of(dataset, split, joint=" ") for split in ("train", "validation"))
    assert {(" ".join(text.split()), label) for text, label in rows} > {*train}
    assert {text for text, _ in validation} == {"the <unknown>"}
    assert "the" in dataset.facts["vocabulary"]


def test_a_text_may_be_empty_and_a_long_one_is_cut_where_that_is_asked_for(build):
    dataset = build(table([("", "yes"), ("abcdef", "no")] * 10), context=4, too_long="cut")
    assert {*rows_of(dataset, "train")} == {("", "yes"), ("abcd", "no")}


def test_of_a_long_text_the_first_and_the_last_tokens_may_stay(build):
    dataset = build(table([("abcdefgh", "yes"), ("abc", "no")] * 10), context=5, too_long="cut_middle")
    assert {*rows_of(dataset, "train")} == {("abcgh", "yes"), ("abc", "no")}


def test_lower_words_are_words_and_marks_and_those_seen_less_often_are_unknown(build):
    rows = [(f"Don't stop, {'NOW' if number % 2 else 'now'}! x{number}", "ab"[number % 2]) for number in range(20)]
    dataset = build(table(rows), tokens="lower_words", context=9, min_count=2)
    assert dataset.facts["vocabulary"] == ["<unknown>", "!", ",", "don't", "now", "stop"]
    assert {text for text, _ in rows_of(dataset, "train", joint=" ")} == {"don't stop , now ! <unknown>"}


def test_columns_separator_and_header_may_be_other_ones(build):
    rows = [f"{number};ab{number};{'yes' if number % 2 else 'no'}" for number in range(20)]
    options = {"separator": ";", "text": "2", "label": "3", "header": False}
    bare = build("\n".join(rows), **options)
    named = build("\n".join(["n;said;kind", *rows]), separator=";", text="said", label="kind")
    assert rows_of(bare, "train") == rows_of(named, "train")
    assert sum(map(len, bare.splits.values())) == 20


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (table(ROWS), {"context": 5}, ["has 18 characters", "context 5", "context=18", "too_long='cut'"]),
        (table(ROWS), {"context": 0}, ["context", "got 0"]),
        (table(ROWS), {"context": 3, "tokens": "words"}, ["has 4 words", "context 3"]),
        (table(ROWS), {"buckets": (8, 4, 20)}, ["buckets (8, 4, 20)", "rising"]),
        (table(ROWS), {"tokens": "word"}, ["no tokens 'word'", "Did you mean 'words'?"]),
        (table(ROWS), {"too_long": "drop"}, ["no too_long 'drop'", "cut, cut_middle, refuse"]),
        (table(ROWS), {"min_count": 0}, ["min_count 0", "at least 1"]),
        (table(ROWS), {"digest": "0123"}, ["changed", "digest is 0123"]),
        (table(ROWS), {"seed": -1}, ["seed", "-1"]),
        (table(ROWS), {"validation_fraction": 0.0}, ["validation_fraction 0.0"]),
        (table(ROWS), {"validation_fraction": 0.6, "test_fraction": 0.4}, ["test_fraction 0.4", "less than 1"]),
        (table(ROWS), {"test_fraction": 0.01}, ["leave the test split empty", "30 texts"]),
        (table(ROWS[:20] + ROWS[-1:]), {"validation_fraction": 0.6}, ["a class without a text to train on"]),
        (table(ROWS[:20]), {}, ["1 labels in 20 rows"]),
        ("", {}, ["has the columns", "text and label once"]),
        ("text,lable\nno,1\n", {}, ["'text', 'lable'", "text and label once"]),
        ("text,label\na,yes,b\n", {}, ["line 2", "3 fields", "header 2", "quote"]),
        ("text,label\na,yes\nb\n", {}, ["line 3", "1 fields"]),
        ("text,label\n\na,\n", {}, ["line 3", "no label"]),
        ('text,label\n"a"b,yes\n', {}, ["line 2", "cannot be read", "quote its fields"]),
    ],
)
def test_what_cannot_be_used_is_refused(refused, build, content, options, words):
    with refused(*words):
        build(content, **options)


def test_the_test_split_may_be_a_file_of_its_own(build, tmp_path, monkeypatch):
    (tmp_path / "test.csv").write_text(table([("new day", "yes"), ("bad", "no")]))
    monkeypatch.setenv("TEXTS_DATA_DIR", str(tmp_path))
    dataset = build(test_path="test.csv", tokens="words")
    assert {split: len(source) for split, source in dataset.splits.items()} == {
        **{"train": 24, "validation": 6, "test": 2}
    }
    assert "new" not in dataset.facts["vocabulary"]
    assert rows_of(dataset, "test", joint=" ") == [("<unknown> day", "yes"), ("bad", "no")]


def test_a_label_of_the_test_file_alone_is_refused(build, tmp_path):
    (tmp_path / "test.csv").write_text(table([("day", "yes"), ("bad", "maybe")]))
    with pytest.raises(Refused, match=r"test.csv' has the label 'maybe', which '.*texts.csv' has not: add texts"):
        build(test_path=str(tmp_path / "test.csv"))
