"""Sentences of tagged words: from CoNLL-U, columns and TFDS the same; what cannot be read is refused in one line."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.sentence_files import read_sentences, tfds_sentences
from attention_jax.data.spelling import COUNT, Spelling
from tests.missing import missing

CONLLU = """# sent_id = 1
# text = Don't go .
1-2\tDon't\t_\t_\t_
1\tDo\tdo\tAUX\tVB
2\tn't\tnot\tPART\tRB
3\tgo\tgo\tVERB\tVB
3.1\tnow\tnow\tADV\tRB
4\t#\t#\tSYM\tNN

1\tGo\tgo\tVERB\tVB
"""
WORDS = [("Do", "n't", "go", "#"), ("Go",)]


@pytest.fixture
def written(tmp_path):
    """`written(name, content)`: the path of a file."""

    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def build(path: str, **options):
    return data.build("tagged_words", **{"train": path, "validation": path, "context": 5, "min_count": 1, **options})


def test_words_of_conllu_are_those_with_a_whole_number(written):
    plain = read_sentences(written("a.conllu", CONLLU), (2, 4))
    assert [sentence.words for sentence in plain] == WORDS
    assert [sentence.tags for sentence in plain] == [("AUX", "PART", "VERB", "SYM"), ("VERB",)]
    packed = read_sentences(written("a.conllu.gz", gzip.compress(CONLLU.encode())), (2, 4))
    assert [sentence[:2] for sentence in packed] == [sentence[:2] for sentence in plain]


def test_columns_parted_by_blanks_have_no_comments(written):
    found = read_sentences(written("a.txt", "# O\nParis B-LOC\n\n\nno O"), (1, 2))
    assert [sentence.words for sentence in found] == [("#", "Paris"), ("no",)]


def test_sentences_are_padded_in_the_order_of_their_words(written):
    dataset = build(written("a.conllu", CONLLU), characters=5, buckets=(5,))
    batch = dataset.splits["train"].gather(np.array([0, 1]))
    vocabulary, classes = dataset.facts["vocabulary"], dataset.facts["classes"]
    assert vocabulary == ["<padding>", "<unknown>", "#", "do", "go", "n't"]
    assert classes == ["AUX", "PART", "SYM", "VERB"]
    assert dataset.facts["character_vocabulary_size"] == COUNT
    np.testing.assert_array_equal(batch["lengths"], [4, 1])
    np.testing.assert_array_equal(batch["tokens"], [[3, 5, 4, 2, 0], [4, 0, 0, 0, 0]])
    np.testing.assert_array_equal(batch["tags"], [[0, 1, 3, 2, 0], [3, 0, 0, 0, 0]])
    np.testing.assert_array_equal(batch["characters"][1, 0], [257, 1 + ord("G"), 1 + ord("o"), 258, 0])
    assert not batch["characters"][1, 1:].any()


def test_a_long_word_keeps_its_first_and_its_last_bytes():
    table = Spelling(["abcdefg", "é"], longest=6).table
    assert table.tolist()[1] == [257, *(1 + ord(letter) for letter in "abfg"), 258]
    assert table.tolist()[2] == [257, 1 + 0xC3, 1 + 0xA9, 258, 0, 0]


def test_words_that_are_rare_or_of_another_split_are_unknown(written):
    other = written("b.conllu", CONLLU.replace("Go", "Stay"))
    dataset = build(written("a.conllu", CONLLU), validation=other, min_count=2)
    assert dataset.facts["vocabulary"] == ["<padding>", "<unknown>", "go"]
    assert dataset.splits["validation"].gather(np.array([1]))["tokens"][0, 0] == 1


def test_tags_that_are_read_as_outside(written):
    path = written("a.txt", "a B-OTH\nb B-LOC\n")
    assert build(path, columns=(1, 2), outside=("B-OTH",)).facts["classes"] == ["B-LOC", "O"]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, ["'{}'", "no sentence"]),
        ("1\tone\n", {}, ["line 1 of '{}'", "2 columns", "data.columns"]),
        ("1\tone\t\t\tNOUN\n", {}, ["line 1 of '{}'", "its tag in 4"]),
        (b"1\t\xff\tx\tX\n", {}, ["'{}'", "is not UTF-8 (line 1"]),
        (CONLLU, {"context": 3}, ["before line 9 of '{}'", "4 words", "context=4"]),
        (CONLLU, {"columns": (0, 4)}, ["counted from 1"]),
        (CONLLU, {"characters": 2}, ["characters=2", "3 or more"]),
        (CONLLU, {"min_count": 3}, ["vocabulary is of size 0"]),
        (CONLLU, {"fields": {"words": "tokens"}}, ["data.fields", "data.dataset"]),
        (gzip.compress(CONLLU.encode())[:40], {"name": "a.conllu.gz"}, ["'{}'", "cannot be read"]),
    ],
)
def test_what_cannot_be_read_is_refused(written, refused, content, options, words):
    options = dict(options)
    path = written(options.pop("name", "a.conllu"), content)
    with refused(*(word.format(path) for word in words)):
        build(path, **options)


def test_a_tag_that_no_training_sentence_has_is_refused(written, refused):
    other = written("b.conllu", "1\tone\tone\tNUM\n")
    with refused("'NUM'", "no training sentence", "b.conllu", "validation"):
        build(written("a.conllu", CONLLU), validation=other)


def test_sentences_alone_are_cut_and_further_texts_are_trained_on(written):
    path, text = written("a.conllu", CONLLU), written("b.txt", "One, two three four.\n")
    dataset = data.build("sentences", train=path, validation=path, texts=(text,), context=3, min_count=1)
    words = [sentence.words for sentence in dataset.splits["train"].sentences]
    assert words == [("#",), ("Do", "n't", "go"), ("Go",), ("One", ",", "two"), ("three", "four", ".")]
    assert len(dataset.splits["validation"]) == 3
    assert {*dataset.splits["train"].gather(np.array([0]))} == {"tokens", "lengths", "characters"}


@pytest.mark.usefixtures("prepared")
def test_the_treebank_is_the_same_from_files_and_from_tfds(refused):
    folder = os.environ.get("ATTENTION_JAX_DATA")
    if folder is None:
        missing("set ATTENTION_JAX_DATA to a folder with ud_english_ewt_r2.10")
    for split in ("dev", "test"):
        path = Path(folder, "ud_english_ewt_r2.10", f"en_ewt-ud-{split}.conllu.gz")
        of_tfds = tfds_sentences("universal_dependencies/en_ewt", split, {"words": "tokens", "tags": "upos"})
        of_file = read_sentences(str(path), (2, 4))
        assert sorted(one[:2] for one in of_tfds) == sorted(one[:2] for one in of_file)
    with refused("no field", "upos"):
        tfds_sentences("universal_dependencies/en_ewt", "dev", {"words": "tokens", "tags": "pos"})
