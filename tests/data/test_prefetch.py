"""Batches put ahead of the step: the same ones, that far ahead, from a position that is the step's own."""

import jax
import numpy as np
import pytest

from attention_jax.data import Ahead, ArraySource, Batches, ahead, train_batches


def batches() -> Batches:
    return train_batches(ArraySource({"number": np.arange(23)}), batch_size=4, seed=3)


def numbers(stream: Ahead, count: int) -> list[list[int]]:
    return [next(stream)["number"].tolist() for _ in range(count)]


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
def test_so_many_are_put_before_they_are_asked_for(depth):
    put = []
    stream = ahead(range(6), lambda batch: put.append(batch) or -batch, depth=depth)
    assert not put
    for number in range(6):
        assert next(stream) == -number
        assert put == list(range(min(number + depth + 1, 6)))
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("depth", [0, 2, 7])
@pytest.mark.parametrize("done", [0, 1, 5])
def test_resumed_at_the_step_nothing_that_was_read_ahead_is_lost(depth, done):
    stream = Ahead(batches(), jax.device_put, depth=depth)
    taken = numbers(stream, done)
    state = stream.get_state()
    rest = numbers(stream, 12)
    assert taken + rest == [next_["number"].tolist() for next_, _ in zip(batches(), range(done + 12), strict=False)]
    resumed = Ahead(batches(), jax.device_put, depth=depth)
    next(resumed)
    resumed.set_state(state)
    assert resumed.get_state() == state
    assert numbers(resumed, 12) == rest
    # It is the position that the batches themselves have without a prefetch, on whatever depth it goes on.
    plain = batches()
    plain.set_state(state)
    assert [next(plain)["number"].tolist() for _ in range(12)] == rest


def test_it_goes_on_from_where_the_batches_are():
    started = batches()
    first = next(started)
    stream = Ahead(started, jax.device_put)
    state = stream.get_state()
    assert state == {**batches().get_state(), "next_index": 1}
    assert isinstance(next(stream)["number"], jax.Array)
    assert first["number"].shape == (4,)


def test_a_negative_depth_is_refused(refused):
    with refused("depth", "-1"):
        ahead([], jax.device_put, depth=-1)
    with refused("depth", "-1"):
        Ahead(batches(), jax.device_put, depth=-1)
