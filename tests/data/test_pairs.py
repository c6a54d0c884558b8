"""Pairs: what a batch holds, what is left out and cut, and how batches are put together."""

import itertools

import numpy as np
import pytest

from attention_jax.data import evaluation_batches, evaluation_order, shape_examples, train_batches
from attention_jax.data.dataset import Dataset
from attention_jax.data.pairs import PairTexts, pairs_dataset
from attention_jax.data.words import BEGIN, END, Words

LETTERS = "abcdefghijklmnop"


def texts_of(lengths: list[tuple[int, int]]) -> PairTexts:
    return PairTexts(
        [" ".join(LETTERS[:source]) for source, _ in lengths],
        [" ".join(LETTERS[-target:] if target else "") for _, target in lengths],
    )


def dataset_of(
    lengths: list[tuple[int, int]], *, source_length=17, target_length=17, buckets=(), others=None
) -> Dataset:
    texts = {"train": texts_of(lengths), "validation": texts_of(others or lengths)}
    return pairs_dataset(
        texts,
        Words([" ".join(LETTERS)], owner="text"),
        source_length=source_length,
        target_length=target_length,
        buckets=buckets,
        owner="own pairs",
    )


def test_a_batch_by_hand():
    dataset = dataset_of([(1, 3), (4, 0)], source_length=6, target_length=5)
    batch = dataset.splits["train"].gather(np.array([1, 0]))
    found = {name: array.tolist() for name, array in batch.items()}
    assert found == {
        "source": [[3, 4, 5, 6, END, 0], [3, END, 0, 0, 0, 0]],
        "source_lengths": [5, 2],
        "inputs": [[BEGIN, 0, 0, 0, 0], [BEGIN, 16, 17, 18, 0]],
        "target_lengths": [1, 4],
        "targets": [[END, 0, 0, 0, 0], [16, 17, 18, END, 0]],
        "weights": [[1, 0, 0, 0, 0], [1, 1, 1, 1, 0]],
    }
    assert batch.pop("weights").dtype == np.float32
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    expected = {"source_length": 6, "target_length": 5, "padding": 0, "begin": 1, "end": 2, "vocabulary_size": 19}
    assert dataset.facts == {**expected, "vocabulary": ["<padding>", "<begin>", "<end>", *LETTERS]}


def test_long_training_pairs_are_left_out_and_others_cut_and_that_is_said():
    lengths = [(2, 2), (3, 1), (1, 3), (4, 1), (1, 5)]
    dataset = dataset_of(lengths, source_length=4, target_length=4)
    train, validation = dataset.splits["train"], dataset.splits["validation"]
    assert train.texts == texts_of(lengths[:3])
    assert validation.texts == texts_of(lengths)
    batch = validation.gather(np.arange(5))
    assert batch["source_lengths"].tolist() == [3, 4, 2, 4, 2]
    assert batch["targets"][4].tolist() == [14, 15, 16, END]
    assert dataset.notes == (
        "own pairs: 2 of 5 train pairs have more than 4 tokens in the source or 4 in the target, and are left out",
        "own pairs: 2 of 5 validation pairs have more than 4 tokens in the source or 4 in the target, and are cut",
    )
    assert dataset_of(lengths).notes == ()


def test_training_pairs_that_are_all_too_long_are_refused(refused):
    with refused("own pairs: 2 of 2 train pairs have more than 3 tokens", "no training pair is left"):
        dataset_of([(3, 1), (1, 9)], source_length=3, target_length=9)


@pytest.fixture(scope="module")
def mixed() -> Dataset:
    lengths = np.random.default_rng(0).integers(0, 16, (60, 2)).tolist()
    return dataset_of(lengths, source_length=16, buckets=3, others=lengths[:7])


def test_batches_are_of_one_bucket_and_an_epoch_has_every_pair_once(mixed):
    train = mixed.splits["train"]
    assert len(shape_examples(train)) == 3
    of_bucket = {bucket: int((train.padded_lengths == bucket).sum()) for bucket in np.unique(train.padded_lengths)}
    size = 4
    rows: dict[int, list[bytes]] = {bucket: [] for bucket in of_bucket}
    for batch in itertools.islice(train_batches(train, batch_size=size, seed=1), 3 * 60 // size):
        bucket = batch["targets"].shape[1]
        assert batch["source"].shape == (size, min(bucket, 16))
        longest = np.maximum(batch["source_lengths"], batch["target_lengths"])
        assert (longest <= bucket).all()
        rows[bucket] += [b"".join(row.tobytes() for row in rows) for rows in zip(*batch.values(), strict=True)]
    for bucket, count in of_bucket.items():
        members = train.gather(np.flatnonzero(train.padded_lengths == bucket)).values()
        expected = sorted(b"".join(row.tobytes() for row in rows) for rows in zip(*members, strict=True))
        assert sorted(rows[bucket][:count]) == expected
        assert sorted(rows[bucket][count : 2 * count]) == expected


def test_a_position_is_returned_to(mixed):
    batches = train_batches(mixed.splits["train"], batch_size=4, seed=1)
    for _ in range(9):
        next(batches)
    state, expected = batches.get_state(), next(batches)
    again = train_batches(mixed.splits["train"], batch_size=4, seed=1)
    again.set_state(state)
    for name, array in next(again).items():
        np.testing.assert_array_equal(array, expected[name])


def test_the_texts_of_an_evaluation_s_rows_are_found_by_its_order(mixed):
    split, found = mixed.splits["validation"], []
    for batch in evaluation_batches(split, batch_size=3):
        found += [mixed.tokenizer.detokenize(row) for row in batch["targets"][batch["valid"]]]
    order = evaluation_order(split)
    assert order.tolist() != list(range(7))
    assert found == [split.texts.target[example] for example in order]
