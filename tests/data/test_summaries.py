"""Texts and summaries: words of their own beyond the vocabulary, cut, padded, and back."""

import numpy as np
import pytest

from attention_jax import data

ROWS = {
    "train": [
        ("the cat saw the dog", "cat saw"),
        ("the dog and zog saw zog", "zog saw"),
        ("a cat", "the cat saw dog a"),
    ],
    "validation": [("quux the cat frob quux", "Quux frob wug cat")],
}


@pytest.fixture
def folder(tmp_path):
    for split, rows in ROWS.items():
        lines = ["body\tsubject", *("\t".join(row) for row in rows)]
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def built(folder, **options):
    names = {"train": "train.tsv", "validation": "validation.tsv", "source": "body", "target": "subject"}
    sizes = {"source_length": 6, "target_length": 5, "min_count": 2, "buckets": ()}
    return data.build("summaries", **{"folder": str(folder), **names, **sizes, **options})


def test_words_that_are_not_in_the_vocabulary_have_ids_of_their_own(folder):
    dataset = built(folder)
    vocabulary = ["<padding>", "<unknown>", "<begin>", "<end>", "cat", "dog", "saw", "the", "zog"]
    assert dataset.facts["vocabulary"] == vocabulary
    assert dataset.facts["oov_words"] == 2
    (note,) = dataset.notes
    assert note.startswith("summaries: 1 training summaries of 'train.tsv' have more than 4 words")
    source = dataset.splits["validation"]
    batch = source.gather(np.array([0]))
    assert batch["source"].tolist() == [[1, 7, 4, 1, 1, 0]]
    # quux is the first word of its own, frob the second; wug is in no source.
    assert batch["source_extended"].tolist() == [[9, 7, 4, 10, 9, 0]]
    assert batch["targets"].tolist() == [[9, 10, 1, 4, 3]]
    assert batch["inputs"].tolist() == [[2, 1, 1, 1, 4]]
    assert source.words(0, [9, 4, 10, 3, 5]) == ["quux", "cat", "frob"]


def test_without_words_of_their_own_there_is_none(folder):
    dataset = built(folder, extended=False)
    batch = dataset.splits["validation"].gather(np.array([0]))
    assert dataset.facts["oov_words"] == 0
    assert "source_extended" not in batch
    assert batch["targets"].tolist() == [[1, 1, 1, 4, 3]]


def test_the_vocabulary_is_of_training_alone_and_sources_are_cut(folder):
    cut = built(folder, source_length=2)
    assert cut.splits["validation"].gather(np.array([0]))["source_extended"].tolist() == [
        [cut.facts["vocabulary_size"], 6]
    ]
    assert "quux" not in cut.facts["vocabulary"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_length": 1}, ["target_length=1", "at least 2"]),
        ({"target": "sbject"}, ["no one column 'sbject'", "Did you mean 'subject'?"]),
        ({"min_count": 99}, ["vocabulary is of size 0"]),
        ({"target_length": 2}, ["no training summary", "at most 1 words"]),
        ({"dataset": "aeslc"}, ["dataset='aeslc'", "give one of the two"]),
    ],
)
def test_what_cannot_be_is_refused(refused, folder, options, words):
    with refused(*words):
        built(folder, **options)


def test_an_empty_text_is_told_by_its_line(refused, folder):
    (folder / "train.tsv").write_text("body\tsubject\na b\tc\n \td\n")
    with refused("line 3", "empty text"):
        built(folder)
