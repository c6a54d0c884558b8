"""Documents of a file or a TFDS set: what the rows hold, in both layouts, and what is refused."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data import documents

DOCUMENTS = ["the quick", "brown fox jumps over the lazy dog", "", "a", "of\nit", "été", "dog", "quick jumps", "over"]
TEXT = "##".join([*DOCUMENTS, "the dog", "x", "a lazy fox"])  # the last quarter of 12 is the validation split
CONTEXT = 12


@pytest.fixture
def build(tmp_path):
    """`build(text, **options)` is the data set of the file that holds the text."""

    def make(text: str = TEXT, **options) -> data.Dataset:
        path = tmp_path / "documents.txt"
        path.write_bytes(text.encode())
        return data.build(
            "text_documents",
            **{"path": str(path), "context": CONTEXT, "separator": "##", "validation_fraction": 0.25, **options},
        )

    return make


def predicted(dataset: data.Dataset, split: str) -> list[str]:
    """Returns, sorted, the first character and the targets of each segment of all rows, or of each row without them."""
    source, vocabulary = dataset.splits[split], dataset.facts["vocabulary"]
    texts = []
    for index in range(len(source)):
        row = {name: array[0] for name, array in source.gather(np.array([index])).items()}
        segments = row.get("segments", row["weights"])
        for segment in np.unique(segments[segments > 0]):
            own = segments == segment
            assert (row["weights"][own] == 1).all()
            ids = [row["inputs"][own][0], *row["targets"][own]]
            np.testing.assert_array_equal(row["inputs"][own], ids[:-1])
            texts.append("".join(vocabulary[index] for index in ids))
    return sorted(texts)


def pieces(documents: list[str]) -> list[str]:
    """Returns, sorted, what each piece spells: the next one begins with the last character of the one before."""
    starts = ((text, start) for text in documents for start in range(0, len(text) - 1, CONTEXT))
    return sorted(text[start : start + CONTEXT + 1] for text, start in starts)


@pytest.mark.parametrize("buckets", [(), (4, 8, CONTEXT)])
def test_every_piece_of_every_document_is_predicted_once(build, buckets):
    dataset = build(buckets=buckets)
    assert predicted(dataset, "train") == pieces(DOCUMENTS)
    assert predicted(dataset, "validation") == sorted(["the dog", "a lazy fox"])
    assert dataset.facts == {
        "vocabulary_size": len(set("".join(DOCUMENTS))),
        "length": CONTEXT,
        "vocabulary": sorted(set("".join(DOCUMENTS))),
    }


def test_packed_rows_have_segments_and_positions_that_begin_anew(build):
    train = build().splits["train"]
    assert len(train) < len(pieces(DOCUMENTS))
    batch = train.gather(np.arange(len(train)))
    assert all(array.shape == (len(train), CONTEXT) for array in batch.values())
    assert batch["segments"].max() > 1
    for segments, positions in zip(batch["segments"], batch["positions"], strict=True):
        present = segments[segments > 0]
        assert set(np.diff(present)) <= {0, 1}
        np.testing.assert_array_equal(segments[len(present) :], 0)
        for segment in np.unique(present):
            own = positions[segments == segment]
            np.testing.assert_array_equal(own, np.arange(len(own)))
    np.testing.assert_array_equal(batch["weights"], batch["segments"] > 0)
    assert train.efficiency == pytest.approx(batch["weights"].mean())


def test_a_bucket_is_the_shortest_that_holds_the_document(build):
    train = build(buckets=(4, 8, CONTEXT)).splits["train"]
    for batch in itertools.islice(data.train_batches(train, batch_size=2, seed=0), 12):
        assert batch.keys() == {"inputs", "targets", "weights", "lengths"}
        length = batch["inputs"].shape[1]
        tokens = batch["weights"].sum(1)
        assert ((tokens <= length) & (tokens > {4: 0, 8: 4, CONTEXT: 8}[length])).all()
        np.testing.assert_array_equal(batch["weights"], np.arange(length) < tokens[:, None])
        np.testing.assert_array_equal(batch["lengths"], tokens)
        assert batch["lengths"].dtype == np.int32


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (TEXT, {"context": 0}, ["context", "got 0"]),
        (TEXT, {"separator": ""}, ["separator", "'\\n\\n'"]),
        (TEXT, {"separator": "no such thing"}, ["validation split", "no document of two characters among 0"]),
        (TEXT, {"buckets": (8, 4, 12)}, ["buckets (8, 4, 12)", "rising"]),
        (TEXT, {"buckets": (4, 8)}, ["buckets (4, 8)", "the last of them context, 12"]),
        (TEXT, {"buckets": (0, 12)}, ["buckets (0, 12)", "at least 1"]),
        (TEXT, {"buckets": (4, 4, 12)}, ["buckets (4, 4, 12)", "rising"]),
        (TEXT, {"buckets": (4.5, 12)}, ["buckets (4.5, 12)", "whole numbers"]),
        (TEXT, {"validation_fraction": 1.0}, ["validation_fraction", "1.0"]),
        ("ab##a##b", {}, ["validation split", "no document of two characters among 0"]),
        ("##\n##a## \n", {}, ["train split", "no document of two characters among 0"]),
        ("ab##ab##ab##xy", {}, ["validation text", "'x'", "train text has not"]),
    ],
)
def test_what_cannot_be_used_is_refused(refused, build, text, options, words):
    with refused(*words):
        build(text, **options)


FOUR = ["the quick cat", "brown\nfox", "the dog", "a fox"]


@pytest.mark.parametrize(
    "written",
    [
        "##".join(FOUR) + "##",
        "##".join(FOUR) + "##\n",
        "##" + "##".join(FOUR),
        "####" + "######".join(FOUR) + "####\n\n \n##",
        "## \n ##".join(FOUR) + "##x##",
    ],
)
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3])
def test_what_is_blank_takes_no_share_of_the_validation_split(build, written, fraction):
    dataset = build(written, validation_fraction=fraction)
    assert predicted(dataset, "train") == sorted(FOUR[:3])
    assert predicted(dataset, "validation") == FOUR[3:]
    assert dataset.facts["vocabulary"] == sorted(set("".join(FOUR[:3])))


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_no_split_is_left_without_a_document_where_there_are_two(build, fraction):
    dataset = build("ab ba##ab", validation_fraction=fraction)
    assert [predicted(dataset, split) for split in ("train", "validation")] == [["ab ba"], ["ab"]]


@pytest.mark.parametrize("separator", ["\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_documents_of_any_system_are_found(build, mark, end, separator):
    written = mark + "\n\n".join([*FOUR, ""]).replace("\n", end)
    dataset = build(written, separator=separator)
    assert predicted(dataset, "train") == sorted(FOUR[:3])
    assert predicted(dataset, "validation") == FOUR[3:]
    assert not {"\r", "\ufeff"} & {*dataset.facts["vocabulary"]}


def test_a_byte_order_mark_of_an_example_is_no_letter(monkeypatch):
    texts = {"train": ["\ufeffthe dog", "a fox\r\n"], "validation": ["\ufeffa dog"]}
    info = SimpleNamespace(features={"body": None}, splits=texts)
    monkeypatch.setattr(documents, "open_prepared", lambda name: SimpleNamespace(info=info))
    monkeypatch.setattr(documents, "read", lambda _, split: [{"body": text.encode()} for text in texts[split]])
    dataset = data.build("tfds_documents", dataset="made_up", field="body", context=CONTEXT)
    assert predicted(dataset, "train") == ["a fox\r\n", "the dog"]
    assert predicted(dataset, "validation") == ["a dog"]


@pytest.fixture(scope="module")
def emails(prepared) -> data.Dataset:
    return data.build("tfds_documents", dataset="aeslc", field="email_body", context=256)


def test_the_emails_of_aeslc_are_packed_almost_without_padding(emails):
    assert emails.facts["vocabulary_size"] == 96
    # The characters of the set's 14,436, 1,960 and 1,906 e-mails, without the first of each.
    targets = {"train": 11_403_638 - 14_436, "validation": 1_588_880 - 1_960, "test": 1_314_889 - 1_906}
    for split, source in emails.splits.items():
        assert source.efficiency > 0.989
        assert source.efficiency * len(source) * 256 == pytest.approx(targets[split])
    first = emails.splits["train"].gather(np.array([0]))
    assert (first["segments"] == 1).all()
    assert "".join(emails.facts["vocabulary"][index] for index in first["inputs"][0]).startswith("Greg and Mark:  ")


@pytest.mark.usefixtures("prepared")
def test_fields_that_are_no_text_are_refused(refused):
    with refused("'aeslc'", "'body'", "email_body, subject_line"):
        data.build("tfds_documents", dataset="aeslc", field="body", context=64)
    with refused("'image'", "fashion_mnist", "text is needed"):
        data.build("tfds_documents", dataset="fashion_mnist", field="image", context=64)
