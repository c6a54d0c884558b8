"""Order, epochs and resumption of training batches; coverage and padding of evaluation; each process's own rows."""

import json

import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.data import ArraySource, Batches, evaluation_batches, train_batches

EXAMPLES = 23  # prime: no batch size below ends with an epoch


def numbers(examples: int = EXAMPLES) -> ArraySource:
    return ArraySource({"number": np.arange(examples)})


def take(batches: Batches, count: int) -> np.ndarray:
    return np.stack([next(batches)["number"] for _ in range(count)])


@pytest.mark.parametrize("batch_size", [1, 4, EXAMPLES])
def test_each_epoch_has_every_example_once_in_a_fresh_order(batch_size):
    stream = take(train_batches(numbers(), batch_size=batch_size, seed=0), -(-3 * EXAMPLES // batch_size))
    assert stream.shape[1] == batch_size
    epochs = stream.reshape(-1)[: 3 * EXAMPLES].reshape(3, EXAMPLES)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(EXAMPLES), (3, 1)))
    assert len({tuple(epoch) for epoch in [np.arange(EXAMPLES), *epochs]}) == 4


def test_the_seed_fixes_the_order_and_no_epoch_of_one_seed_is_an_epoch_of_another():
    orders = {}
    for seed in range(3):
        stream = take(train_batches(numbers(), batch_size=EXAMPLES, seed=seed), 3)
        np.testing.assert_array_equal(stream, take(train_batches(numbers(), batch_size=EXAMPLES, seed=seed), 3))
        orders |= {tuple(epoch): seed for epoch in stream}
    assert len(orders) == 9


@pytest.mark.parametrize("done", [0, 1, 5, 6, 11, 40])  # batches of 4: the first epoch turns inside batch 5
def test_resumed_batches_are_those_that_would_have_come(done):
    batches = train_batches(numbers(), batch_size=4, seed=3)
    for _ in range(done):
        next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    expected = take(batches, 15)
    resumed = train_batches(numbers(), batch_size=4, seed=3)
    next(resumed)
    resumed.set_state(state)
    np.testing.assert_array_equal(take(resumed, 15), expected)
    assert resumed.get_state() == batches.get_state()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("batch_size", train_batches(numbers(), batch_size=5, seed=3)),
        ("seed", train_batches(numbers(), batch_size=4, seed=4)),
        ("examples", train_batches(numbers(22), batch_size=4, seed=3)),
    ],
)
def test_a_position_in_other_batches_is_refused(refused, name, other):
    state = train_batches(numbers(), batch_size=4, seed=3).get_state()
    with refused(f"{name} {state[name]}"):
        other.set_state(state)


def test_impossible_batches_are_refused(refused):
    with refused("batch_size 24", "23 examples"):
        train_batches(numbers(), batch_size=EXAMPLES + 1, seed=0)
    with refused("seed", "-1"):
        train_batches(numbers(), batch_size=4, seed=-1)
    with refused("batch_size", "at least 1, got 0"):
        train_batches(numbers(), batch_size=0, seed=0)
    with refused("batch_size", "at least 1, got 0"):
        evaluation_batches(numbers(), batch_size=0)


@pytest.mark.parametrize("batch_size", [1, 4, EXAMPLES, EXAMPLES + 10])
def test_evaluation_goes_once_over_the_split_in_order_in_whole_batches(batch_size):
    batches = list(evaluation_batches(numbers(), batch_size=batch_size))
    valid = np.concatenate([batch["valid"] for batch in batches])
    stream = np.concatenate([batch["number"] for batch in batches])
    assert valid.dtype == bool
    assert all(len(batch["valid"]) == len(batch["number"]) == batch_size for batch in batches)
    np.testing.assert_array_equal(stream[valid], np.arange(EXAMPLES))
    np.testing.assert_array_equal(stream[~valid], 0)
    assert len(stream) - EXAMPLES < batch_size


def parts(processes: int, batch_size: int = 8) -> list[slice]:
    rows = batch_size // processes
    return [slice(start, start + rows) for start in range(0, batch_size, rows)]


def joined(batches: list) -> list[dict[str, np.ndarray]]:
    """Returns the batches of several processes as those of one."""
    return [
        {name: np.concatenate([part[name] for part in batch]) for name in batch[0]}
        for batch in zip(*batches, strict=True)
    ]


def assert_same(ours: list[dict[str, np.ndarray]], theirs: list[dict[str, np.ndarray]]) -> None:
    assert len(ours) == len(theirs) > 0
    for batch, other in zip(ours, theirs, strict=True):
        assert batch.keys() == other.keys()
        for name, array in batch.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_all_processes_are_together_the_whole_batches(processes):
    whole = train_batches(numbers(), batch_size=8, seed=3)
    shards = [train_batches(numbers(), batch_size=8, seed=3, rows=rows) for rows in parts(processes)]
    taken = [[next(shard) for _ in range(7)] for shard in shards]
    assert all(len(batch["number"]) == 8 // processes for shard in taken for batch in shard)
    assert_same(joined(taken), [next(whole) for _ in range(7)])
    assert {str(shard.get_state()) for shard in shards} == {str(whole.get_state())}


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_evaluation_rows_of_all_processes_are_together_the_whole_split(processes):
    shards = [list(evaluation_batches(numbers(), batch_size=8, rows=rows)) for rows in parts(processes)]
    assert_same(joined(shards), list(evaluation_batches(numbers(), batch_size=8)))


def test_two_processes_go_on_where_four_stopped():
    four = [train_batches(numbers(), batch_size=8, seed=3, rows=rows) for rows in parts(4)]
    for shard in four:
        take(shard, 5)
    two = [train_batches(numbers(), batch_size=8, seed=3, rows=rows) for rows in parts(2)]
    for shard in two:
        shard.set_state(four[3].get_state())
    expected = joined([[next(shard) for _ in range(5)] for shard in four])
    assert_same(joined([[next(shard) for _ in range(5)] for shard in two]), expected)


@pytest.mark.parametrize("rows", [slice(0, 9), slice(4, 4), slice(-4, 8), slice(0, 8, 2), slice(8, None)])
def test_rows_that_are_not_in_the_batch_are_refused(rows):
    for make in (
        lambda: train_batches(numbers(), batch_size=8, seed=0, rows=rows),
        lambda: evaluation_batches(numbers(), batch_size=8, rows=rows),
    ):
        with pytest.raises(Refused, match=r"^slice\(.*give.* slice\(0, 8\)\.$"):
            make()
