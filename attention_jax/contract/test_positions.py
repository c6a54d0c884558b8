"""Positions, ids and lengths in any dtype: nothing wraps, in any engine, under any transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import SPECS, claims, make, quick_jit, run, usual_mask, widely
from attention_jax.contract.mask_cases import takes
from attention_jax.kernels import Causal, Global, Padding, PrefixLM, Refused, Segments, Window, attend

INT32 = np.iinfo(np.int32)


def sees(engine, mask, positions):
    """Who sees whom, [B, T, S], by giving each key a value on an axis of its own."""
    batch, tokens = positions.shape
    query = jnp.zeros((batch, tokens, 1, 4))
    value = jnp.broadcast_to(jnp.eye(tokens)[None, :, None], (batch, tokens, 1, tokens))
    call = quick_jit(lambda q, v, p: attend(q, q, v, mask=mask, positions=p, engine=engine).out)
    return np.asarray(call(query, value, positions))[:, :, 0] > 0


def rule(mask, positions):
    """The same in Python's own integers, which never wrap."""
    seen = {
        "Window": lambda i, j: abs(i - j) < mask.size,
        "Causal": lambda i, j: j <= i,
        "Global": lambda i, j: i < mask.count or j < mask.count,
        "PrefixLM": lambda i, j: j <= i or j < int(mask.prefix),
    }[type(mask).__name__]
    return np.array([[[seen(i, j) for j in row] for i in row] for row in positions.tolist()])


MASKS = (
    *(Window(size) for size in (1, 2, 3, 200, 2**31 - 1, 2**31, 2**31 + 5, 2**32, 2**40)),
    *(Global(count) for count in (1, 3, 2**31 + 5)),
    *(PrefixLM(prefix) for prefix in (1, 2**31 - 1)),
    Causal(),
)
EXTREMES = {
    "int8": [[0, 1, 100, 127], [-128, -1, 1, 127]],
    "int16": [[-32768, 0, 200, 32767]],
    "uint8": [[0, 1, 200, 255]],
    # The lowest number stands for padding in many data sets.
    "int32": [[0, 1, 2, INT32.min], [INT32.min, -1, 1, INT32.max], [0, 1, 2, 3]],
    "int64": [[0, 1, 2, 3]],
}
FAR = np.array(EXTREMES["int32"][:1], np.int32)


@pytest.mark.parametrize("dtype", EXTREMES)
def test_a_mask_by_position_is_that_of_whole_numbers_without_end(dtype):
    positions = np.array(EXTREMES[dtype], dtype)
    for mask in MASKS:
        np.testing.assert_array_equal(sees("dense", mask, positions), rule(mask, positions), err_msg=repr(mask))


@pytest.mark.parametrize("engine", ["blockwise", "decode"])
def test_every_engine_sees_the_same_at_the_ends_of_the_dtype(engine):
    positions = np.array(EXTREMES["int32"], np.int32)
    for mask in MASKS:
        np.testing.assert_array_equal(sees(engine, mask, positions), rule(mask, positions), err_msg=repr(mask))


def test_a_narrow_window_is_gathered_as_it_is_computed_densely():
    positions = (np.arange(640, dtype=np.int16) * 51)[None]
    for size in (1, 52, 103):
        np.testing.assert_array_equal(*(sees(engine, Window(size), positions) for engine in ("gather", "dense")))


@pytest.mark.parametrize("transform", ["vmap", "grad"])
def test_the_same_under_vmap_and_grad(transform):
    query, value = jnp.zeros((1, 4, 1, 4)), jnp.eye(4)[None, :, None]

    def out(positions):
        return attend(query, query, value, mask=Window(3), positions=positions).out

    if transform == "vmap":
        found = jax.vmap(out)(jnp.stack([jnp.asarray(FAR), jnp.arange(4)[None]]))
        np.testing.assert_array_equal(found[0][0, 3, 0] > 0, [False, False, False, True])
    else:
        found = jax.grad(lambda v: attend(query, query, v, mask=Window(3), positions=FAR).out[0, 0].sum())(value)
        np.testing.assert_array_equal(np.asarray(found)[0, 3], 0)


def test_positions_that_are_no_whole_numbers_or_leave_their_dtype_are_refused():
    query = jnp.zeros((1, 4, 1, 4))
    wrong = {
        "the query positions are float32: give whole numbers": jnp.arange(4.0)[None],
        "the query positions reach 1099511627776, outside of int32": np.array([[0, 1, 2, 2**40]]),
        "the query positions are uint32, which may leave int32: give int32": jnp.arange(4, dtype=jnp.uint32)[None],
    }
    for words, positions in wrong.items():
        with pytest.raises(Refused, match=words):
            attend(query, query, query, mask=Causal(), positions=positions)
    for prefix in (2**31 + 5, np.array([2**40])):
        with pytest.raises(Refused, match=r"the prefixes of PrefixLM reach .* outside of int32: give smaller numbers"):
            attend(query, query, query, mask=PrefixLM(prefix))


@pytest.mark.parametrize("spec", widely([spec for spec in SPECS if takes(spec, "causal&padding&segments")]))
def test_ids_of_segments_are_whole_numbers_or_flags_in_any_form(spec):
    inputs = make(spec)
    ids = np.array([[0, 0, 0, 1, 1, 1, 1]] * 2)
    expected = run(spec, inputs, mask=Causal(), segments=ids).out
    forms = (ids.tolist(), ids.astype(bool), ids.astype(np.int8), jnp.asarray(ids, jnp.uint32), jnp.asarray(ids))
    for form in forms:
        np.testing.assert_array_equal(run(spec, inputs, mask=Causal(), segments=form).out, expected)
    for wrong, words in ((ids * 1.0, "float64: give whole"), (ids + 2**40, "reach 1099511627776, outside of int32")):
        with pytest.raises(Refused, match=f"the query ids of Segments .*{words}"):
            run(spec, inputs, mask=Causal(), segments=wrong)


@pytest.mark.parametrize("spec", widely(SPECS))
def test_lengths_of_padding_are_whole_numbers_in_any_form(spec):
    inputs, usual = make(spec), usual_mask(spec)
    with_usual = (lambda mask: mask) if usual is None else (lambda mask: usual & mask)
    expected = run(spec, inputs, mask=with_usual(Padding(np.array([7, 4])))).out
    for form in ([7, 4], np.array([7, 4], np.int8), np.array([7, 4], np.uint8), jnp.array([7, 4])):
        np.testing.assert_array_equal(run(spec, inputs, mask=with_usual(Padding(form))).out, expected)
    with pytest.raises(Refused, match="the lengths of Padding reach 1099511627776, outside of int32"):
        run(spec, inputs, mask=with_usual(Padding(np.array([7, 2**40]))))


def test_a_window_alone_looks_both_ways_and_says_nothing_of_the_future():
    spec = "sliding_window:window=3"
    assert claims(spec).bidirectional
    inputs = make(spec)
    own = run(spec, inputs, outputs=("out", "weights")).weights
    np.testing.assert_array_equal(np.asarray(own[0, 0]) > 0, np.abs(np.subtract.outer(range(7), range(7))) < 3)
    assert Segments(np.zeros((1, 4), int)).causal is False
