"""Pairs of texts of tables: what the batches hold, the vocabulary, and what is refused; and SICK."""

import os

import numpy as np
import pytest

from attention_jax import data
from tests.missing import missing

ROWS = [("A dog runs", "the DOG sits", "no", "1.5"), ("It runs.", "it runs", "yes", "4"), ("One", "two", "no", "2")]
COLUMNS = ("first", "second", "label", "score")


def table(rows=ROWS, columns=COLUMNS):
    return "".join("\t".join(row) + "\n" for row in (columns, *rows))


@pytest.fixture
def build(tmp_path):
    """`build(train=..., validation=..., **options)` is the data set of tables of this content."""

    def make(train=None, validation=None, test=None, **options):
        contents = {"train": train or table(), "validation": validation or table(ROWS[:2]), "test": test}
        names = {}
        for split, content in contents.items():
            if content is not None:
                (tmp_path / f"{split}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
                names[split] = f"{split}.tsv"
        learned = {} if "score" in options or "label" in options else {"label": "label"}
        data.dataset._built.cache_clear()
        return data.build("sentence_pairs", folder=str(tmp_path), **{**names, "context": 8, **learned, **options})

    return make


def spelt(dataset, split):
    """Returns both texts of each pair as its tokens spell them."""
    batch = dataset.splits[split].gather(np.arange(len(dataset.splits[split])))
    vocabulary = dataset.facts["vocabulary"]
    return [
        tuple(
            " ".join(vocabulary[token] for token in batch[side][row, : batch[f"{side}_lengths"][row]])
            for side in ("first", "second")
        )
        for row in range(len(batch["first"]))
    ]


def test_pairs_are_tokens_lengths_and_labels(build):
    dataset = build()
    assert spelt(dataset, "train") == [("a dog runs", "the dog sits"), ("it runs .", "it runs"), ("one", "two")]
    batch = dataset.splits["train"].gather(np.array([2, 0]))
    assert {name: array.dtype for name, array in batch.items()} == dict.fromkeys(
        ("first", "second", "first_lengths", "second_lengths", "label"), np.int32
    )
    assert batch["first"][0, 1:].tolist() == [0, 0]
    assert batch["label"].tolist() == [0, 0]
    facts = dataset.facts
    assert facts["vocabulary"][:3] == ["<padding>", "<unknown>", "."]
    assert facts["vocabulary_size"] == len(facts["vocabulary"]) == 11
    assert (facts["classes"], facts["num_classes"], facts["length"]) == (["no", "yes"], 2, 8)
    assert dataset.splits.keys() == {"train", "validation"}


def test_a_score_is_one_number(build):
    dataset = build(score="score")
    batch = dataset.splits["train"].gather(np.arange(3))
    assert batch["score"].tolist() == [1.5, 4, 2]
    assert batch["score"].dtype == np.float32
    assert "label" not in batch
    assert dataset.facts["num_classes"] == 1


def test_what_training_has_not_is_unknown(build):
    dataset = build(validation=table([("a cat runs", "it", "no", "1")]), min_count=1)
    assert spelt(dataset, "validation") == [("a <unknown> runs", "it")]
    assert "cat" not in dataset.facts["vocabulary"]


def test_a_batch_has_one_length_and_too_long_texts_may_be_cut(build):
    dataset = build(buckets=(1, 8))
    assert dataset.splits["train"].padded_lengths.tolist() == [8, 8, 1]
    assert dataset.splits["train"].gather(np.array([2]))["second"].shape == (1, 1)
    assert spelt(build(context=2, too_long="cut"), "train")[0] == ("a dog", "the dog")
    assert spelt(build(context=2, too_long="cut_middle"), "train")[0] == ("a runs", "the sits")


def test_json_lines_and_other_columns(build, tmp_path):
    lines = '{"a": "x y", "b": "y", "c": "1"}\n{"a": "x", "b": "z", "c": "0"}\n'
    (tmp_path / "own.jsonl").write_text(lines)
    dataset = data.build(
        "sentence_pairs",
        folder=str(tmp_path),
        train="own.jsonl",
        validation="own.jsonl",
        context=4,
        first="a",
        second="b",
        label="c",
    )
    assert spelt(dataset, "train") == [("x y", "y"), ("x", "z")]


@pytest.mark.parametrize(
    ("contents", "options", "words"),
    [
        (
            {"test": table([("a", "b", "maybe", "1")])},
            {},
            ["line 2", "test.tsv", "'maybe'", "no training pair has", "'no', 'yes'"],
        ),
        ({"validation": table([("", "b", "no", "1")])}, {}, ["line 2", "validation.tsv", "empty first text"]),
        ({"train": table([*ROWS, ("a", " ", "no", "1")])}, {}, ["line 5", "train.tsv", "empty second text"]),
        ({"train": table([*ROWS, ("a", "b", "", "1")])}, {}, ["line 5", "no label"]),
        ({"train": table(ROWS[:1])}, {}, ["the one label 'no'", "two or more"]),
        ({}, {"label": "kind"}, ["no one column 'kind'", "'first', 'second', 'label', 'score'"]),
        ({}, {"first": "frist"}, ["no one column 'frist'", "Did you mean 'first'?"]),
        ({"train": b"first\tsecond\tlabel\n\xff\tb\tno\n"}, {}, ["train.tsv", "is not UTF-8 (line 2, byte 19 is 0xff)"]),
        ({"train": table([])}, {}, ["train.tsv", "no row"]),
        ({"train": table([("a", "b", "no", "high")])}, {"score": "score"}, ["line 2", "'high'", "give a number"]),
        ({"train": table([("a", "b", "no", "nan")])}, {"score": "score"}, ["line 2", "'nan'", "give a number"]),
        ({}, {"score": "score", "label": "label"}, ["label='label' and score='score'", "one column"]),
        ({}, {"min_count": 9}, ["size 0", "min_count"]),
        ({}, {"context": 2}, ["line 2", "first text of 3 lower_words", "context=3", "too_long='cut'"]),
        ({}, {"tokens": "word"}, ["tokens 'word'", "Did you mean 'words'?"]),
        ({}, {"buckets": (2, 4)}, ["buckets (2, 4)"]),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(build, refused, contents, options, words):
    with refused(*words):
        build(**contents, **options)


def test_a_file_that_is_not_there_is_refused(build, refused):
    with refused("cannot be read", "absent.tsv"):
        build(train=None, validation=None).splits  # noqa: B018
        data.build(
            "sentence_pairs", folder="nowhere", train="absent.tsv", validation="absent.tsv", context=4, label="x"
        )


@pytest.mark.parametrize("learned", [{"label": "entailment_judgment"}, {"score": "relatedness_score"}])
def test_sick_is_read_whole(monkeypatch, learned):
    folder = os.environ.get("ATTENTION_JAX_DATA")
    if folder is None:
        missing("set ATTENTION_JAX_DATA to a folder that has sick2014, with SICK_train.txt and so on")
    monkeypatch.setenv("TEXTS_DATA_DIR", folder)
    names = {"train": "SICK_train.txt", "validation": "SICK_trial.txt", "test": "SICK_test_annotated.txt"}
    columns = {"first": "sentence_A", "second": "sentence_B", **learned}
    options = {"folder": "sick2014", "separator": "\t", "quotes": False, "context": 40}
    dataset = data.build("sentence_pairs", **names, **columns, **options)
    assert {split: len(source) for split, source in dataset.splits.items()} == {
        "train": 4500,
        "validation": 500,
        "test": 4927,
    }
    test = dataset.splits["test"].learned
    if "label" in learned:
        assert dataset.facts["classes"] == ["CONTRADICTION", "ENTAILMENT", "NEUTRAL"]
        assert np.bincount(test["label"]).max() / 4927 == pytest.approx(0.567, abs=0.0005)
    else:
        assert (test["score"].min(), test["score"].max()) == (1, 5)
