"""Documents of sentences: what the batches hold, which vocabulary they have, and what is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused

OPTIONS = {"sentences": 4, "words": 5, "validation_fraction": 0.2}
REVIEWS = {
    f"{label}/cv{number:03}.txt": "\n".join(f"{label} line {line} ." for line in range(1 + number % 4))
    for label in ("pos", "neg")
    for number in range(20)
}


def write(folder: Path, texts: dict[str, str | bytes]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def build(folder: Path, **options) -> data.Dataset:
    return data.build("document_folder", **{"path": str(folder), **OPTIONS, **options})


def whole(dataset: data.Dataset, split: str) -> dict[str, np.ndarray]:
    source = dataset.splits[split]
    return source.gather(np.arange(len(source)))


def spelt(dataset: data.Dataset, batch: dict[str, np.ndarray], row: int) -> str:
    """Returns a document as its file has it."""
    lines = zip(batch["document"][row], batch["sentence_lengths"][row], strict=True)
    words = dataset.facts["vocabulary"]
    return "\n".join(" ".join(words[token] for token in line[:length]) for line, length in lines if length)


def test_lines_are_sentences_and_padding_is_none(tmp_path):
    dataset = build(write(tmp_path, REVIEWS))
    assert dataset.facts["classes"] == ["neg", "pos"]
    assert {split: len(source) for split, source in dataset.splits.items()} == {
        **{"train": 28, "validation": 8, "test": 4}
    }
    found = []
    for split, source in dataset.splits.items():
        batch = whole(dataset, split)
        assert {name: array.dtype for name, array in batch.items()} == dict.fromkeys(
            ("document", "sentence_lengths", "lengths", "label"), np.int32
        )
        real = np.arange(5) < batch["sentence_lengths"][..., None]
        assert (batch["document"][~real] == 0).all()
        assert (batch["document"][real] > 0).all()
        np.testing.assert_array_equal((batch["sentence_lengths"] > 0).sum(1), batch["lengths"])
        assert [spelt(dataset, batch, row) for row in range(len(source))] == list(source.written)
        found += [*source.written]
    assert sorted(found) == sorted(REVIEWS.values())


def test_documents_of_few_sentences_are_padded_to_a_shorter_bucket(tmp_path):
    dataset = build(write(tmp_path, REVIEWS), buckets=(2, 4))
    source = dataset.splits["train"]
    short = np.flatnonzero(source.padded_lengths == 2)
    assert 0 < len(short) < len(source)
    assert source.gather(short)["document"].shape == (len(short), 2, 5)


def test_the_vocabulary_is_of_the_training_documents_alone(tmp_path):
    texts = {**REVIEWS, "pos/test.txt": "unseen line"}
    dataset = build(write(tmp_path, texts), test_files="test*", min_count=2)
    assert "unseen" not in dataset.facts["vocabulary"]
    assert dataset.facts["vocabulary"][:2] == ["<padding>", "<unknown>"]
    batch = whole(dataset, "test")
    np.testing.assert_array_equal(batch["sentence_lengths"][0, :1], 2)
    assert batch["document"][0, 0, 0] == 1


def test_blank_lines_are_no_sentences_and_an_empty_document_has_length_0(tmp_path):
    texts = {**REVIEWS, "pos/test.txt": "", "pos/test_2.txt": "\n \n\t\nline\n\n", "neg/test_3.txt": " \n"}
    dataset = build(write(tmp_path, texts), test_files="test*")
    batch = whole(dataset, "test")
    assert sorted(batch["lengths"].tolist()) == [0, 0, 1]
    assert sorted(batch["sentence_lengths"].sum(1).tolist()) == [0, 0, 1]
    np.testing.assert_array_equal(batch["document"][batch["lengths"] == 0], 0)


def test_what_is_too_long_is_refused_or_cut(tmp_path):
    folder = write(tmp_path, {**REVIEWS, "pos/test.txt": "a " * 2500 + "b " * 2500})
    message = (
        r"^a sentence of document 'test.txt' has 5000 tokens, more than words=5: give words=5000, or too_long='cut'"
    )
    with pytest.raises(Refused, match=message):
        build(folder)
    batch = whole(build(folder, test_files="test*", too_long="cut_middle"), "test")
    assert batch["sentence_lengths"].tolist()[0][0] == 5


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"pos/x.txt": b"good\n\xff film"}, {}, r"^text file '.*pos/x.txt' is not UTF-8 \(.*0xff\): convert it\.$"),
        ({"pos/x.txt": "a\n" * 5}, {}, r"^document 'x.txt' has 5 sentences, more than sentences=4: give sentences=5, "),
        ({}, {"min_count": 1000}, r"have no token 1000 times, so the vocabulary is of size 0: give more texts"),
        ({}, {"tokens": "letters"}, r"^document_folder has no tokens 'letters'\."),
        ({}, {"words": 0}, r"0"),
        ({}, {"sentences": 0}, r"0"),
        ({}, {"buckets": (2, 3)}, r"3.*4|4.*3"),
        ({}, {"test_files": "none*"}, r"test_files='none\*' has 0 of the 40 files"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, change, options, message):
    folder = write(tmp_path, {**REVIEWS, **change})
    with pytest.raises(Refused, match=message) as refused:
        build(folder, **options)
    assert "\n" not in str(refused.value)


def test_a_zip_is_read_like_the_folder_within(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as packed:
        for name, text in REVIEWS.items():
            packed.writestr(f"reviews/{name}", text)
    from_zip, from_folder = build(tmp_path / "own.zip"), build(write(tmp_path / "reviews", REVIEWS))
    assert from_zip.facts == from_folder.facts
    assert list(from_zip.splits["test"].written) == list(from_folder.splits["test"].written)
