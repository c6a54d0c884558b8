"""Windows of characters: which there are, what each predicts, and texts that cannot be used."""

from pathlib import Path

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused

TEXT = "the quick brown fox jumps over the lazy dog! été.\n" * 4  # 200 characters


@pytest.fixture
def file(tmp_path):
    """`file(content)` is the path of a file that holds `content`, a str as UTF-8 or bytes."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "text.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def spelled(ids: np.ndarray, facts: dict) -> str:
    return "".join(facts["vocabulary"][index] for index in ids)


def test_the_vocabulary_is_the_sorted_characters(file):
    dataset = data.build("text_file", path=file(TEXT), context=7, validation_fraction=0.25)
    assert dataset.facts["vocabulary"] == sorted(set(TEXT))
    assert dataset.facts["vocabulary_size"] == len(set(TEXT))
    assert dataset.facts["length"] == 7


def test_training_windows_start_everywhere_and_targets_are_the_next_characters(file):
    dataset = data.build("text_file", path=file(TEXT), context=7, validation_fraction=0.25)
    train, facts = dataset.splits["train"], dataset.facts
    assert len(train) == 150 - 7
    batch = train.gather(np.arange(len(train)))
    assert {name: value.dtype.name for name, value in batch.items()} == {
        "inputs": "int32",
        "targets": "int32",
        "weights": "float32",
    }
    for start in range(len(train)):
        assert spelled(batch["inputs"][start], facts) == TEXT[start : start + 7]
        assert spelled(batch["targets"][start], facts) == TEXT[start + 1 : start + 8]
    assert (batch["weights"] == 1).all()


@pytest.mark.parametrize("context", [1, 7, 49, 60])  # 50 characters: exact, partial, exactly one window, less than one
def test_validation_windows_predict_every_character_but_the_first_once(file, context):
    dataset = data.build("text_file", path=file(TEXT), context=context, validation_fraction=0.25)
    split, facts = dataset.splits["validation"], dataset.facts
    batch = split.gather(np.arange(len(split)))
    loss = batch["weights"] == 1
    assert set(np.unique(batch["weights"])) <= {0.0, 1.0}
    assert spelled(batch["targets"][loss], facts) == TEXT[151:]
    assert spelled(batch["inputs"][loss], facts) == TEXT[150:-1]
    assert (~loss).sum() < context, "padding in the last window only"
    assert not batch["inputs"][~loss].any()
    assert not batch["targets"][~loss].any()


def test_longer_windows_are_splits_of_the_validation_text_and_the_length_is_the_longest(file):
    options = {"path": file(TEXT), "context": 7, "validation_fraction": 0.25}
    plain, longer = data.build("text_file", **options), data.build("text_file", **options, longer=(2, 4))
    assert longer.splits.keys() - plain.splits.keys() == {"validation_2x", "validation_4x"}
    assert longer.facts == {**plain.facts, "length": 28}
    for split, width in (("train", 7), ("validation", 7), ("validation_2x", 14), ("validation_4x", 28)):
        source = longer.splits[split]
        batch = source.gather(np.arange(len(source)))
        assert batch["inputs"].shape[1] == width
        if split != "train":
            assert spelled(batch["targets"][batch["weights"] == 1], longer.facts) == TEXT[151:]


@pytest.mark.parametrize("longer", [(1,), (4, 2), (2, 2), (0, 2)])
def test_longer_windows_that_are_none_are_refused(refused, file, longer):
    with refused(f"longer={longer}", "rising, such as (2, 4)"):
        data.build("text_file", path=file(TEXT), context=7, longer=longer)


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        ("", 4, ["train text", "0 characters"]),
        ("abcde" * 2, 9, ["train text", "9 characters", "context 9 needs 10"]),
        ("abab", 1, ["validation text", "0 characters"]),
        (b"abc\xff" * 20, 4, ["text.txt", "not UTF-8", "byte 3 is 0xff"]),
        ("ab" * 50 + "abæba", 4, ["validation text", "'æ'", "train text has not"]),
        (TEXT, 0, ["context", "0"]),
    ],
)
def test_a_text_that_cannot_be_used_is_refused(refused, file, content, context, words):
    with refused(*words):
        data.build("text_file", path=file(content), context=context)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_of_any_system_and_a_byte_order_mark_give_the_same_text(file, mark, end):
    options = {"context": 7, "validation_fraction": 0.25}
    plain = data.build("text_file", path=file(TEXT), **options)
    train = plain.splits["train"].gather(np.arange(143))
    (folder := Path(file(TEXT)).parent / "other").mkdir()
    (folder / "text.txt").write_bytes((mark + TEXT.replace("\n", end)).encode())
    other = data.build("text_file", path=str(folder / "text.txt"), **options)
    assert other.facts == plain.facts
    assert "\ufeff" not in other.facts["vocabulary"]
    np.testing.assert_array_equal(other.splits["train"].gather(np.arange(143))["inputs"], train["inputs"])


def test_rare_and_new_characters_may_be_one(file):
    dataset = data.build("text_file", path=file("ab" * 40 + "z" + "ab" * 40 + "é"), context=4, min_count=2)
    assert dataset.facts["vocabulary"] == ["<unknown>", "a", "b"]
    assert dataset.facts["vocabulary_size"] == 3
    last = dataset.splits["validation"].gather(np.array([len(dataset.splits["validation"]) - 1]))
    assert last["targets"][0][last["weights"][0] > 0][-1] == 0
    assert 0 in dataset.splits["train"].ids


def test_a_mark_within_the_text_is_a_character(file):
    dataset = data.build("text_file", path=file("a\ufeff" * 40), context=4)
    assert dataset.facts["vocabulary"] == ["a", "\ufeff"]


def test_a_file_that_cannot_be_read_is_refused(refused, tmp_path):
    with refused("nowhere.txt", "No such file"):
        data.build("text_file", path=str(tmp_path / "nowhere.txt"), context=4)
    with refused(str(tmp_path), "Is a directory"):
        data.build("text_file", path=str(tmp_path), context=4)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_fraction_that_is_none_is_refused(refused, file, fraction):
    with refused("validation_fraction", str(fraction)):
        data.build("text_file", path=file(TEXT), context=4, validation_fraction=fraction)


@pytest.mark.usefixtures("prepared")
def test_tiny_shakespeare_has_its_published_sizes():
    dataset = data.build("tfds_characters", dataset="tiny_shakespeare", context=64)
    assert dataset.facts["vocabulary_size"] == 65
    assert len(dataset.splits["train"]) == 1_003_854 - 64
    for split in ("validation", "test"):  # 55,770 characters each
        source = dataset.splits[split]
        assert source.gather(np.arange(len(source)))["weights"].sum() == 55_769
    first = dataset.splits["train"].gather(np.array([0]))["inputs"][0]
    assert spelled(first, dataset.facts).startswith("First Citizen:\nBefore we proceed")


@pytest.mark.usefixtures("prepared")
def test_a_set_that_is_no_running_text_is_refused(refused):
    with refused("'scan'", "16728 examples", "'actions', 'commands'"):
        data.build("tfds_characters", dataset="scan", context=64)


def test_the_tokenizer_spells_texts_and_names_a_character_that_there_is_not(file):
    tokenizer = data.build("text_file", path=file(TEXT), context=7).tokenizer
    (tokens,) = tokenizer.tokenize(["été!"])
    assert [tokenizer.vocabulary[token] for token in tokens] == list("été!")
    assert tokenizer.detokenize(tokens) == "été!"
    with pytest.raises(Refused, match=r"text.txt' has no character '€'"):
        tokenizer.tokenize(["fox", "€ 5"])


def test_the_tokenizer_takes_what_it_does_not_know_for_unknown_where_there_is_such_a_token(file):
    tokenizer = data.build("text_file", path=file(TEXT), context=7, min_count=1).tokenizer
    assert tokenizer.detokenize(tokenizer.tokenize(["a€"])[0]) == "a<unknown>"
