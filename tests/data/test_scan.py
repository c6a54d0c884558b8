"""SCAN: words of commands and actions, a validation split drawn from the training pairs, and the real splits."""

from types import SimpleNamespace

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data import scan

PAIRS = [(f"jump {'and jump ' * number}left", "I_JUMP " * number + "I_LEFT") for number in range(10)]
TEST = [("jump left", "I_LEFT " * 30)]


@pytest.fixture
def made_up(monkeypatch):
    """`made_up(**options)` is the data set of the pairs above."""
    stored = {"train": PAIRS, "test": TEST}

    def read(builder: object, split: str) -> list[dict[str, bytes]]:
        return [{"commands": source.encode(), "actions": target.encode()} for source, target in stored[split]]

    monkeypatch.setattr(scan, "open_prepared", lambda name: SimpleNamespace())
    monkeypatch.setattr(scan, "read", read)
    data.dataset._built.cache_clear()
    yield lambda **options: data.build("scan", **{"validation_fraction": 0.2, "buckets": 1, **options})
    data.dataset._built.cache_clear()


def test_validation_is_a_part_of_the_training_pairs_that_the_seed_draws(made_up):
    drawn = []
    for seed in range(3):
        splits = made_up(seed=seed).splits
        drawn.append([*zip(*splits["validation"].texts, strict=True)])
        assert len(drawn[-1]) == 2
        assert sorted([*zip(*splits["train"].texts, strict=True), *drawn[-1]]) == sorted(PAIRS)
        assert [*zip(*splits["test"].texts, strict=True)] == TEST
    assert len({str(pairs) for pairs in drawn}) > 1


def test_lengths_are_those_of_all_splits_and_training_has_none_of_the_test_s(made_up):
    dataset = made_up()
    assert dataset.facts["source_length"] == 21
    assert dataset.facts["target_length"] == 31
    assert dataset.facts["vocabulary"] == ["<padding>", "<begin>", "<end>", "I_JUMP", "I_LEFT", "and", "jump", "left"]
    longest = max(1 + len(text.split()) for text in dataset.splits["train"].texts.source)
    assert {*dataset.splits["train"].padded_lengths} == {longest}
    assert dataset.splits["test"].padded_lengths.tolist() == [31]
    batch = dataset.splits["test"].gather(np.array([0]))
    assert batch["source"].shape == (1, 21)
    assert dataset.tokenizer.detokenize(batch["targets"][0]) == TEST[0][1].strip()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_fraction": 0.0}, ["validation_fraction", "0.0"]),
        ({"validation_fraction": 0.01}, ["validation_fraction 0.01 of the 10 training pairs"]),
        ({"seed": -1}, ["scan seed=-1"]),
        ({"buckets": 0}, ["buckets=0"]),
    ],
)
def test_what_cannot_be_used_is_refused(refused, made_up, options, words):
    with refused(*words):
        made_up(**options)


@pytest.mark.parametrize(
    ("split", "counts", "longest"),
    [
        ("simple", (15_055, 1673, 4182), 49),
        ("length", (15_291, 1699, 3920), 23),
        ("addprim_jump", (13_203, 1467, 7706), 49),
    ],
)
def test_the_splits_of_scan(prepared, split, counts, longest):
    data.dataset._built.cache_clear()
    dataset = data.build("scan", split=split)
    assert tuple(map(len, dataset.splits.values())) == counts
    assert (dataset.facts["source_length"], dataset.facts["target_length"]) == (10, 49)
    assert dataset.facts["vocabulary_size"] == 3 + 13 + 6
    assert dataset.notes == ()
    train = dataset.splits["train"]
    assert train.padded_lengths.max() == longest
    batch = train.gather(np.arange(100))
    assert [dataset.tokenizer.detokenize(row) for row in batch["targets"]] == train.texts.target[:100]


def test_a_split_that_scan_lacks_is_refused(prepared, refused):
    with refused("scan", "no config 'lenght'", "Did you mean 'length'?"):
        data.build("scan", split="lenght")
