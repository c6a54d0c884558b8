"""Order, epochs and resumption of training batches; coverage and padding of evaluation batches."""

import json

import numpy as np
import pytest

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
