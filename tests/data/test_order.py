"""Examples of several lengths: batches of one length, each example once an epoch, resumable; other data refused."""

import itertools
import json

import numpy as np
import pytest

from attention_jax.data import Batches, evaluation_batches, evaluation_order, shape_examples, train_batches
from attention_jax.data.order import Order, groups

COUNTS = {16: 13, 4: 29, 8: 7}  # by length; no batch size below divides one


class OfLengths:
    """Examples in no order of length: their number, and as many ones as they are long."""

    def __init__(self, counts: dict[int, int]):
        lengths = np.repeat(list(counts), list(counts.values()))
        self.padded_lengths = np.random.default_rng(0).permutation(lengths)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"number": indices, "ones": np.ones((len(indices), self.padded_lengths[indices].max()))}


SOURCE = OfLengths(COUNTS)


def batches(seed: int = 3, *, source: OfLengths = SOURCE, **options) -> Batches:
    return train_batches(source, **{"batch_size": 5, "seed": seed, **options})


def assert_equal(ours: list[dict], theirs: list[dict]) -> None:
    for batch, other in zip(ours, theirs, strict=True):
        for name, array in batch.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("batch_size", [1, 5, 7])
def test_a_batch_has_one_length_and_each_length_is_an_endless_stream_of_permutations(batch_size):
    streams: dict[int, list[int]] = {length: [] for length in COUNTS}
    for batch in itertools.islice(batches(batch_size=batch_size), 4 * len(SOURCE) // batch_size):
        length = batch["ones"].shape[1]
        assert (SOURCE.padded_lengths[batch["number"]] == length).all()
        assert len(batch["number"]) == batch_size
        streams[length] += batch["number"].tolist()
    for length, stream in streams.items():
        members = np.flatnonzero(SOURCE.padded_lengths == length)
        epochs = [stream[start : start + len(members)] for start in range(0, len(stream), len(members))]
        assert len(epochs) >= 3
        assert len({tuple(epoch) for epoch in epochs[:3]}) == 3
        for epoch in epochs[:3]:
            np.testing.assert_array_equal(np.sort(epoch), members)


def test_after_each_epoch_no_length_is_a_batch_behind():
    order = Order(groups(SOURCE), batch_size=5, seed=0)
    for epoch in range(1, 6):
        lengths = [SOURCE.padded_lengths[order(number)[0]] for number in range(int(order._filled(epoch).sum()))]
        for length, count in COUNTS.items():
            assert 0 <= epoch * count - 5 * lengths.count(length) < 5


def test_the_lengths_come_in_an_order_that_the_seed_fixes_and_another_in_each_epoch():
    source = OfLengths({16: 10, 4: 30, 8: 5})  # 2, 6 and 1 batches of 5 in each epoch

    def order(seed: int) -> tuple[tuple[int, ...], ...]:
        lengths = [batch["ones"].shape[1] for batch in itertools.islice(batches(seed, source=source), 27)]
        return tuple(tuple(lengths[start : start + 9]) for start in (0, 9, 18))

    epochs = [order(seed) for seed in (0, 1)]
    assert order(0) == epochs[0] != epochs[1]
    assert len({epoch for epoch in epochs[0] + epochs[1]}) == 6
    assert all(sorted(epoch) == [4] * 6 + [8] + [16] * 2 for epoch in epochs[0])


@pytest.mark.parametrize("done", [0, 1, 9, 10, 30])
def test_resumed_batches_are_those_that_would_have_come(done):
    first = batches()
    for _ in range(done):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    resumed = batches()
    resumed.set_state(state)
    assert_equal([next(resumed) for _ in range(12)], [next(first) for _ in range(12)])


def test_the_rows_of_two_processes_are_together_the_whole_batches():
    halves = [batches(batch_size=6, rows=rows) for rows in (slice(0, 3), slice(3, 6))]
    for batch in itertools.islice(batches(batch_size=6), 20):
        parts = [next(half) for half in halves]
        assert_equal([{name: np.concatenate([part[name] for part in parts]) for name in batch}], [batch])


def test_examples_of_other_lengths_are_refused(refused):
    other = train_batches(OfLengths({16: 14, 4: 28, 8: 7}), batch_size=5, seed=3)
    with refused("examples_by_length [29, 7, 13]", "this run has [28, 7, 14]"):
        other.set_state(batches().get_state())
    of_one_length = train_batches(OfLengths({16: len(SOURCE)}), batch_size=5, seed=3)
    with refused("examples_by_length [29, 7, 13]", "this run has None"):
        of_one_length.set_state(batches().get_state())


def test_a_length_with_too_few_examples_for_a_batch_is_refused(refused):
    with refused("batch_size 8", "7 examples", "the fewest of one length", "at most 7"):
        batches(batch_size=8)


@pytest.mark.parametrize("batch_size", [1, 5, 30])
def test_evaluation_goes_once_over_each_length_in_order(batch_size):
    seen: dict[int, list[int]] = {}
    for batch in evaluation_batches(SOURCE, batch_size=batch_size):
        assert len(batch["valid"]) == len(batch["number"]) == batch_size
        seen.setdefault(batch["ones"].shape[1], []).extend(batch["number"][batch["valid"]])
    assert list(seen) == sorted(COUNTS)
    for length, numbers in seen.items():
        np.testing.assert_array_equal(numbers, np.flatnonzero(SOURCE.padded_lengths == length))


def test_one_example_of_each_shape():
    assert SOURCE.padded_lengths[list(shape_examples(SOURCE))].tolist() == sorted(COUNTS)
    shapes = {SOURCE.gather(np.full(5, example))["ones"].shape for example in shape_examples(SOURCE)}
    assert shapes == {batch["ones"].shape for batch in itertools.islice(batches(), 9)}


def test_examples_of_two_sequences_share_a_batch_where_both_are_of_one_length():
    class Pairs:
        padded_lengths = np.random.default_rng(0).permutation(np.repeat([[4, 8], [4, 4], [8, 4]], [5, 4, 6], axis=0))

        def __len__(self) -> int:
            return len(self.padded_lengths)

        def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
            source, target = self.padded_lengths[indices].T
            return {
                "source": np.ones((len(indices), source.max())),
                "target": np.ones((len(indices), target.max())),
                "lengths": self.padded_lengths[indices],
            }

    source = Pairs()
    assert source.padded_lengths[list(shape_examples(source))].tolist() == [[4, 4], [4, 8], [8, 4]]
    seen = set()
    for batch in itertools.islice(train_batches(source, batch_size=2, seed=0), 16):
        shape = batch["source"].shape[1], batch["target"].shape[1]
        assert (batch["lengths"] == shape).all()
        seen.add(shape)
    assert len(seen) == 3


def test_the_order_of_an_evaluation_is_that_of_its_rows():
    source = OfLengths(COUNTS)
    order = evaluation_order(source)
    assert sorted(order) == list(range(len(source)))
    batches = evaluation_batches(source, batch_size=5)
    numbers = np.concatenate([batch["number"][batch["valid"]] for batch in batches])
    np.testing.assert_array_equal(order, numbers)
