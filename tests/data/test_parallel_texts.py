"""Parallel texts of a folder: which files make which split, how they are read, and what is refused; and Multi30k."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused
from tests.missing import missing

ENGLISH = ["a dog", "two dogs", "a dog runs", "it runs"]
GERMAN = ["ein Hund", "zwei Hunde", "ein Hund läuft", "er läuft"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Sets train, val, test_a and test_b of four, three, two and one pairs, in files of every kind."""
    for stem, count in (("train", 4), ("val", 3), ("test_a", 2), ("test_b", 1)):
        (tmp_path / f"{stem}.en.gz").write_bytes(gzip.compress("\n".join(ENGLISH[:count]).encode()))
        (tmp_path / f"{stem}.de").write_bytes(
            b"\xef\xbb\xbf" + "".join(f"{text}\r\n" for text in GERMAN[:count]).encode()
        )
    return tmp_path


def build(folder: Path, /, **options) -> data.Dataset:
    data.dataset._built.cache_clear()
    return data.build("parallel_texts", **{"folder": str(folder), "length": 40, "vocabulary_size": 300, **options})


def spelt(dataset: data.Dataset, split: str) -> list[tuple[str, str]]:
    """Returns the sources and targets that the tokens of a split spell."""
    batch = dataset.splits[split].gather(np.arange(len(dataset.splits[split])))
    return [
        (dataset.tokenizer.detokenize(source), dataset.tokenizer.detokenize(target))
        for source, target in zip(batch["source"], batch["targets"], strict=True)
    ]


def test_each_set_is_a_split(folder):
    dataset = build(folder, tests=("test_a", "test_b"))
    pairs = list(zip(ENGLISH, GERMAN, strict=True))
    counts = {"train": 4, "validation": 3, "test": 2, "test_b": 1}
    assert {split: spelt(dataset, split) for split in dataset.splits} == {
        split: pairs[:count] for split, count in counts.items()
    }
    assert dataset.splits["test"].texts.target == GERMAN[:2]
    assert build(folder).splits.keys() == {"train", "validation"}
    assert dataset.facts["source_length"] == dataset.facts["target_length"] == 40


def test_sets_and_languages_are_those_that_are_named(folder):
    dataset = build(folder, source="de", target="en", train="val", validation="test_a")
    assert spelt(dataset, "train") == list(zip(GERMAN[:3], ENGLISH[:3], strict=True))
    assert spelt(dataset, "validation") == list(zip(GERMAN[:2], ENGLISH[:2], strict=True))


def test_the_plain_file_is_read_where_there_are_both(folder):
    (folder / "train.en").write_text("1\n2\n3\n4\n")
    assert build(folder).splits["train"].texts.source == ["1", "2", "3", "4"]


def test_references_are_as_the_file_has_them_and_tokens_in_lower_case(folder):
    dataset = build(folder, lowercase=True, validation="train", train="val")
    assert dataset.splits["validation"].texts.target == GERMAN
    assert [target for _, target in spelt(dataset, "validation")] == [text.lower() for text in GERMAN]


def test_a_line_ends_where_a_line_of_the_file_does(folder):
    (folder / "train.en").write_bytes("a\u2028b\x85c\n\nd\ne".encode())
    assert build(folder).splits["train"].texts.source == ["a\u2028b\x85c", "", "d", "e"]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("train.en", b"a\nb\n", ["train.en of", "has 2 lines and train.de 4", "the same line"]),
        ("val.de", b"", ["val.de' is empty"]),
        ("val.de", b"\n", ["val.de' is empty"]),
        ("train.de", b"\xff\n", ["train.de' is not UTF-8"]),
        ("test_b.en.gz", b"plain", ["test_b.en.gz' cannot be read"]),
        ("test_b.en.gz", gzip.compress(b"text" * 99, mtime=0)[:-9], ["test_b.en.gz' cannot be read"]),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(refused, folder, file, content, words):
    (folder / file).write_bytes(content)
    with refused(*words):
        build(folder, tests=("test_a", "test_b"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folder": "no/such"}, ["folder 'no/such'", "is not there"]),
        ({"target": "fr"}, ["no file train.fr or train.fr.gz"]),
        ({"validation": "vali"}, ["no file vali.en", "Did you mean 'val.en'?"]),
        ({"target": "en"}, ["source and target are both 'en'"]),
        ({"length": 1}, ["length=1", "at least 2"]),
        ({"length": 2}, ["4 of 4 train pairs have more than 2 tokens", "no training pair is left"]),
        ({"tests": ("test_a", "val")}, ["'val'", "each must be there once"]),
        ({"tests": ("test_a", "test")}, ["'train', 'validation', 'test', 'test'", "each must be there once"]),
        ({"vocabulary_size": 100}, ["vocabulary_size=100", "at least 259"]),
        ({"buckets": (8, 16)}, ["buckets (8, 16)", "the last of them length, 40"]),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(refused, folder, options, words):
    with refused(*words):
        build(folder, **options)


@pytest.fixture(scope="module")
def multi30k() -> data.Dataset:
    folder = os.environ.get("ATTENTION_JAX_DATA")
    if folder is None:
        missing("set ATTENTION_JAX_DATA to a folder that has multi30k_en_de, with train.en.gz and so on")
    sets = ("test_2016_flickr", "test_2017_flickr", "test_2017_mscoco")
    return data.build("parallel_texts", folder=f"{folder}/multi30k_en_de", length=60, tests=sets)


def test_every_text_of_multi30k_comes_back(multi30k):
    counts = {split: len(source) for split, source in multi30k.splits.items()}
    assert counts == {
        "train": 29_000,
        "validation": 1014,
        "test": 1000,
        "test_2017_flickr": 1000,
        "test_2017_mscoco": 461,
    }
    assert len(multi30k.facts["vocabulary"]) == 8000
    assert multi30k.notes == ()
    for split, source in multi30k.splits.items():
        found = spelt(multi30k, split)
        assert found == [(text.strip(), other.strip()) for text, other in zip(*source.texts, strict=True)]


def test_a_quarter_of_the_tokens_of_multi30k_at_most_is_padding(multi30k):
    for source in multi30k.splits.values():
        batch = source.gather(np.arange(len(source)))
        real = batch["source_lengths"].sum() + batch["target_lengths"].sum()
        assert real / (2 * source.padded_lengths.sum()) > 0.8
    sizes = np.unique(multi30k.splits["train"].padded_lengths, return_counts=True)[1]
    assert len(sizes) == 6
    assert sizes.min() > 1024


def test_a_folder_is_looked_for_where_the_environment_says(folder, monkeypatch):
    monkeypatch.setenv("TEXTS_DATA_DIR", str(folder.parent))
    assert build(Path(folder.name)).splits["train"].texts == build(folder).splits["train"].texts
    monkeypatch.setenv("TEXTS_DATA_DIR", str(folder))
    with pytest.raises(Refused, match=r"of parallel texts is not there: .* the folder that TEXTS_DATA_DIR names"):
        build(Path(folder.name))
