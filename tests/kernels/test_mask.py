"""Masks: what each shows, how they combine, what they refuse, and that they travel through JAX like arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Causal, Dense, Global, Padding, PrefixLM, Refused, Segments, Window, attend
from attention_jax.kernels.mask_algebra import And, Axis, Or, as_mask, conjunction, describe, terms


def shown(mask, tokens=4, positions=None):
    """The rectangle of the mask at `tokens` queries and keys, as rows of "x" and "."."""
    position = jnp.arange(tokens)[None] if positions is None else jnp.asarray(positions)
    axis = Axis(index=jnp.arange(tokens), position=position)
    rows = np.broadcast_to(mask.visible(axis, axis), (len(position), 1, tokens, tokens))[0, 0]
    return ["".join("x" if seen else "." for seen in row) for row in rows]


@pytest.mark.parametrize(
    ("mask", "rows"),
    [
        (Causal(), ["x...", "xx..", "xxx.", "xxxx"]),
        (Window(1), ["x...", ".x..", "..x.", "...x"]),
        (Window(2), ["xx..", "xxx.", ".xxx", "..xx"]),
        (Causal() & Window(2), ["x...", "xx..", ".xx.", "..xx"]),
        (Global(1), ["xxxx", "x...", "x...", "x..."]),
        (PrefixLM(2), ["xx..", "xx..", "xxx.", "xxxx"]),
        (PrefixLM(jnp.array([3])), ["xxx.", "xxx.", "xxx.", "xxxx"]),
        (Padding(jnp.array([2])), ["xx..", "xx..", "xx..", "xx.."]),
        (Padding(jnp.array([[False, True, False, True]])), [".x.x", ".x.x", ".x.x", ".x.x"]),
        (Segments(jnp.array([[0, 0, 1, 1]])), ["xx..", "xx..", "..xx", "..xx"]),
        (Segments(jnp.array([[0, 0, 1, 1]]), jnp.array([[1, 0, 0, 1]])), [".xx.", ".xx.", "x..x", "x..x"]),
        (Causal() & Window(1) | Global(1), ["xxxx", "xx..", "x.x.", "x..x"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else describe(value),
)
def test_what_each_mask_shows(mask, rows):
    assert shown(mask) == rows


def test_rules_by_position_follow_the_positions_and_rules_by_index_do_not():
    backwards = [[3, 2, 1, 0]]
    assert shown(Causal(), positions=backwards) == ["xxxx", ".xxx", "..xx", "...x"]
    assert shown(Global(1), positions=backwards) == ["...x", "...x", "...x", "xxxx"]
    assert shown(Padding(jnp.array([1])), positions=backwards) == shown(Padding(jnp.array([1])))


def test_and_binds_tighter_than_or_and_arrays_join_from_either_side():
    array = np.eye(4, dtype=bool)
    tree = Causal() | Window(2) & Global(1)
    assert isinstance(tree, Or)
    assert isinstance(tree.terms[1], And)
    for joined in (array & Causal(), jnp.asarray(array) & Causal(), Causal() & array):
        assert isinstance(joined, And)
        assert shown(joined) == shown(Window(1))
    assert shown(array | Causal()) == shown(Causal())


def test_only_what_cannot_see_the_future_calls_itself_causal():
    causal = [Causal(), Causal() & Window(3), Window(3) & Causal(), Causal() | Causal() & Window(2)]
    assert all(mask.causal for mask in causal)
    others = [Window(1), Causal() | Window(3), PrefixLM(0), Global(1), Dense(np.tri(4, dtype=bool))]
    assert not any(mask.causal for mask in others)


def test_only_rules_that_compare_positions_call_themselves_positional():
    assert all(mask.positional for mask in (Causal(), Window(1), Global(1), PrefixLM(1), Padding([1]) & Causal()))
    assert not any(
        mask.positional for mask in (Padding([1]), Segments([[1]]), Dense([[True]]), Padding([1]) | Dense([[True]]))
    )


def test_conjunction_terms_and_words():
    assert conjunction(None, None) is None
    assert isinstance(conjunction(None, Causal()), Causal)
    both = conjunction(Causal() & Window(2), Padding(jnp.array([1])))
    assert [type(rule) for rule in terms(both)] == [Causal, Window, Padding]
    assert terms(None) == ()
    assert describe(both) == "((Causal & Window) & Padding)"
    assert describe(Causal() | Window(2)) == "(Causal | Window)"
    assert describe(None) == "no mask"


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
def test_a_window_or_a_count_must_be_a_whole_number_of_at_least_one(size):
    with pytest.raises(Refused, match="whole number of at least 1"):
        Window(size)
    with pytest.raises(Refused, match="whole number of at least 1"):
        Global(size)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Padding(jnp.array([1, 2, 3])), r"Padding has int32 of shape \(3,\) for 2 sequences of 4 keys"),
        (Padding(jnp.array([1.0, 2.0])), "Padding has float32"),
        (Padding(jnp.ones((2, 5), bool)), "True for a real key"),
        (Segments(jnp.zeros((2, 5), int)), r"query ids of shape \(2, 5\)"),
        (Segments(jnp.zeros((2, 4), int), jnp.zeros((2, 3), int)), r"key ids of shape \(2, 3\)"),
        (PrefixLM(jnp.array([1, 2, 3])), r"prefixes of shape \(3,\)"),
        (Dense(jnp.ones((4, 4))), "the mask array is float32: give bool"),
        (Dense(jnp.ones((4, 5), bool)), r"has shape \(4, 5\): give \[4, 4\]"),
        (Dense(jnp.ones((2, 4), bool)), "a mask over keys alone is Padding"),
        (Dense(jnp.ones((3, 1, 4, 4), bool)), r"has shape \(3, 1, 4, 4\)"),
        (Causal() & (Window(2) | Dense(jnp.ones((4, 5), bool))), r"has shape \(4, 5\)"),
    ],
)
def test_a_mask_whose_arrays_do_not_fit_is_refused(mask, message):
    tokens = jnp.ones((2, 4, 2, 8))
    with pytest.raises(Refused, match=message):
        attend(tokens, tokens, tokens, mask=mask)


@pytest.mark.parametrize("mask", ["causal", [[True]], True, 3])
def test_what_is_neither_a_mask_nor_an_array_is_refused(mask):
    with pytest.raises(Refused, match="neither a mask nor an array"):
        as_mask(mask)


def test_masks_go_through_jit_vmap_and_scan_as_arguments():
    def rows(mask):
        axis = Axis(index=jnp.arange(4), position=jnp.arange(4)[None])
        return mask.visible(axis, axis)

    lengths, segments = jnp.array([[1], [4]]), jnp.array([[[0, 0, 1, 1]], [[0, 1, 1, 1]]])
    masks = (Causal() | Window(2)) & Padding(lengths) & Segments(segments)
    expected = [rows((Causal() | Window(2)) & Padding(lengths[i]) & Segments(segments[i])) for i in range(2)]
    np.testing.assert_array_equal(jax.vmap(rows)(masks), expected)
    np.testing.assert_array_equal(jax.lax.map(rows, masks), expected)
    assert rows(Window(1)).sum() == jax.jit(rows)(Window(1)).sum() == 4
    assert jax.jit(rows)(Window(2)).sum() == 10, "the size is part of the compiled function's key"
