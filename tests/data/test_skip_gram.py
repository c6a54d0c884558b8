"""Words and the words around them: windows, lines, thinning, negatives, pairs of words; and what is refused."""

import zipfile

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused

LINES = ["the cat sat on the mat .", "", "A dog's 3 fleas, the dog!", "the cat and the dog sat"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES * 40))
    return str(path)


def build(text, **options):
    defaults = {"texts": (text,), "min_count": 1, "subsample": 0.0, "draws": 1, "validation_fraction": 0.1}
    return data.build("skip_gram", **{**defaults, **options})


def rows(source, count=None):
    return source.gather(np.arange(len(source) if count is None else count))


def test_words_come_by_their_counts_and_marks_and_numbers_are_none(text):
    dataset = build(text)
    assert dataset.facts["vocabulary"][0] == "the"
    assert {*dataset.facts["vocabulary"]} == {"the", "cat", "sat", "on", "mat", "a", "dog's", "fleas", "dog", "and"}
    assert dataset.facts["vocabulary_size"] == 10


def test_contexts_are_the_words_of_the_line_within_the_window_that_is_drawn(text):
    dataset = build(text, window=3)
    source, words = dataset.splits["train"], np.array(dataset.facts["vocabulary"])
    batch = rows(source)
    # Lines are numbered in the order of the texts; each is found again from its centers.
    line = source._text.line
    reaches = set()
    for row in range(len(source)):
        own = np.flatnonzero(line == line[row])
        around = {place - row for place in own if place != row}
        offsets = np.array([-3, -2, -1, 1, 2, 3])
        kept = {*offsets[batch["weights"][row] > 0].tolist()}
        for reach in (1, 2, 3):
            if kept == {offset for offset in around if abs(offset) <= reach}:
                break
        else:
            pytest.fail(f"row {row} keeps {kept} of {around}")
        reaches.add(reach)
        for offset in kept:
            place = int(np.flatnonzero(offsets == offset)[0])
            assert words[batch["contexts"][row, place]] == words[source._text.words[row + offset]]
    assert reaches == {1, 2, 3}


def test_a_row_is_the_same_every_time_and_in_any_batch(text):
    source = build(text).splits["train"]
    whole = rows(source)
    some = np.array([7, 3, 7])
    again = source.gather(some)
    assert all(np.array_equal(again[name], whole[name][some]) for name in whole)


def test_each_draw_goes_through_the_texts_again_in_its_own_way(text):
    once, thrice = (build(text, draws=draws, subsample=0.05).splits["train"] for draws in (1, 3))
    assert len(thrice) > 2 * len(once)
    first = thrice._text.words[: len(once)]
    np.testing.assert_array_equal(first, once._text.words)
    assert len({*thrice._text.line}) > len({*once._text.line})


def test_frequent_words_stay_as_often_as_they_should(text):
    whole = build(text).splits["train"]._text.words
    share = np.bincount(whole) / len(whole)
    thinned = build(text, subsample=0.01, draws=50).splits["train"]._text.words
    found = np.bincount(thinned, minlength=len(share)) / (50 * np.bincount(whole))
    expected = np.minimum(1, np.sqrt(0.01 / share) + 0.01 / share)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_negatives_are_drawn_by_counts_to_the_power_of_three_quarters(text):
    dataset = build(text, negatives=40, draws=10)
    source = dataset.splits["train"]
    drawn = np.bincount(rows(source)["negatives"].reshape(-1), minlength=10) / (40 * len(source))
    counts = np.bincount(source._text.words).astype(float) ** 0.75
    np.testing.assert_allclose(drawn, counts / counts.sum(), atol=0.01)


def test_the_validation_split_carries_the_pairs_that_are_known(text, tmp_path):
    (tmp_path / "pairs.txt").write_text("Word 1\tWord 2\tHuman\ncat\tDog\t7.5\ncat\tmoon\t1\nmat\tdog\t2\n")
    dataset = build(text, pairs=str(tmp_path / "pairs.txt"))
    source, words = dataset.splits["validation"], dataset.facts["vocabulary"]
    pair = rows(source)["pair"]
    assert [[words[word] for word in one] for one in pair[:2]] == [["cat", "dog"], ["mat", "dog"]]
    assert not pair[2:].any()
    assert source.ratings.tolist() == [7.5, 2]
    assert not len(dataset.splits["train"].ratings)
    (note,) = dataset.notes
    assert note.startswith("2 of the 3 pairs")
    assert "cat and moon" in note


def test_folders_and_zips_are_read_by_the_order_of_their_files(tmp_path):
    for name, line in (("b.txt", "dog dog"), ("a.txt", "cat cat"), ("c.md", "nothing")):
        (tmp_path / name).write_text("\n".join([line] * 9))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("b.txt", "a.txt", "c.md"):
            archive.write(tmp_path / name, f"folder/{name}")
    folder, packed = (build(str(path), validation_fraction=0.2) for path in (tmp_path, tmp_path / "all.zip"))
    assert folder.facts == packed.facts
    assert {*folder.facts["vocabulary"]} == {"cat", "dog"}
    for split in ("train", "validation"):
        one, other = (rows(dataset.splits[split]) for dataset in (folder, packed))
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "skip_gram window=0: give at least 1"),
        ({"negatives": 0}, "negatives=0"),
        ({"draws": 0}, "draws=0"),
        ({"min_count": 1000}, "0 words 1000 times or more, so the vocabulary is of size 0"),
        ({"subsample": -1.0}, "subsample=-1.0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"texts": ()}, r"texts=\(\)"),
        ({"texts": ("tfds:aeslc",)}, "write tfds:SET:FIELD"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_refused(text, options, message):
    with pytest.raises(Refused, match=message) as refusal:
        build(text, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\tdog\tnear\ncat\tdog\tfar\n", "line 2 of .* give two words and a number"),
        ("cat\tmoon\t3\n", "has 0 pairs of words of the texts"),
        ("cat dog 3\ncat dog 4\n", "line 2 of .* give two words and a number"),
    ],
)
def test_bad_pairs_are_refused(text, tmp_path, content, message):
    (tmp_path / "pairs.txt").write_text(content)
    with pytest.raises(Refused, match=message):
        build(text, pairs=str(tmp_path / "pairs.txt"))


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(Refused, match=r"bad\.txt' is not UTF-8"):
        build(str(tmp_path))
