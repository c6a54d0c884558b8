"""Where a cache with a reach keeps its tokens, held to lists that are written one token after the other."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import (
    Causal,
    Global,
    Padding,
    PrefixLM,
    Refused,
    Segments,
    Window,
    reach_of,
)
from attention_jax.kernels.mask_algebra import Axis, Reach
from attention_jax.kernels.ring import Ring


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 3), (2, 1), (3, 4)])
def test_the_slots_hold_the_first_and_the_last_positions(first, last):
    ring, slots = Ring(first, last, capacity=20), [None] * (first + last)
    for length in range(13):
        found = np.asarray(ring.positions(jnp.array([length]), beyond=5))[0]
        assert [place if place < length else None for place in found.tolist()] == slots
        # What is not written yet lies in a future that none of the next five tokens sees.
        assert all(place >= length + 5 for place, held in zip(found, slots, strict=True) if held is None)
        assert sorted(place for place in slots if place is not None) == [
            place for place in range(length) if ring.keeps(jnp.array([[place]]), jnp.array([length]))[0, 0]
        ]
        slots[int(ring.slot(jnp.asarray(length)))] = length


@pytest.mark.parametrize(
    ("mask", "reach"),
    [
        (Causal(), None),
        (Window(5), (0, 5)),
        (Causal() & Window(2**40), (0, 2**40)),
        (Causal() & Global(3), (3, 1)),
        (Causal() & (Window(5) | Global(3)), (3, 5)),
        (Window(4) & (Window(2) | Global(8)), (0, 4)),
        (Window(4) | Window(2), (0, 4)),
        (Causal() & (Window(4) | Segments(np.zeros((1, 7), int))), None),
        (PrefixLM(3) & Window(4), (0, 4)),
        (PrefixLM(3) | Window(4), None),
    ],
)
def test_how_far_back_a_mask_lets_a_query_look(mask, reach):
    assert mask.reach == (None if reach is None else Reach(*reach))


def test_a_mask_reaches_all_keys_that_it_shows():
    tokens = jnp.arange(12)

    axis = Axis(tokens, tokens[None])
    for mask in (
        Window(3),
        Global(2),
        Window(3) | Global(2),
        (Window(5) | Global(4)) & Window(7),
        Window(2) | Window(4),
    ):
        first, last = mask.reach
        shown = np.asarray((Causal() & mask).visible(axis, axis))[0, 0]
        within = (tokens[None] < first) | (tokens[None] > tokens[:, None] - last)
        assert not (shown & ~within).any()
        # And no fewer.
        assert (shown & (tokens[None] == tokens[:, None] - last + 1)).any()


@pytest.mark.parametrize(
    ("variant", "mask", "reach"),
    [
        ("scaled_dot", Causal() & Window(4), (0, 4)),
        ("sliding_window:window=4,sinks=2", Causal(), (2, 4)),
        ("sliding_window:window=4,sinks=2", Causal() & Window(3), (0, 3)),
        ("local_m:window=4", Causal(), (0, 5)),
        ("strided:stride=3", Causal(), None),
        ("strided:stride=3", Causal() & Window(4), (0, 4)),
        # By index, an entry of an array for each key, keys in their order, a mask that is made for a length.
        ("scaled_dot", Causal() & Window(4) & Padding([3, 4]), None),
        ("location", Causal() & Window(4), None),
        ("cosformer", Causal() & Window(4), None),
        ("local_p:window=1", Causal() & Window(4), None),
        ("bigbird", Causal() & Window(4), None),
    ],
)
def test_how_far_back_a_variant_looks(variant, mask, reach):
    assert reach_of(mask, variant=variant) == (None if reach is None else Reach(*reach))


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 0)])
def test_a_cache_that_keeps_no_token_is_refused(first, last):
    with pytest.raises(Refused, match=f"keeps the first {first} and the last {last} tokens: give 0 or more"):
        Ring(first, last, capacity=20)


def test_only_padding_can_be_told_of_another_order():
    keys = jnp.array([[2, 0, 9], [1, 3, 9]])
    by_flags = Padding(np.array([[True, False, False, True], [False, True, True, False]])).placed(keys)
    np.testing.assert_array_equal(by_flags.real, [[False, True, False], [True, False, False]])
    by_length = (Causal() & Padding(np.array([1, 4]))).placed(keys)
    np.testing.assert_array_equal(by_length.terms[1].real, [[False, True, False], [True, True, False]])
    with pytest.raises(Refused, match="Segments goes by the index of keys, and the cache keeps the last ones alone"):
        (Causal() & Segments(np.zeros((1, 4), int))).placed(keys)
