"""Packed documents in the recurrence: each as if alone, whatever another one holds, in one call or in many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, Inputs, error, make, out_and_gradients, quick_jit, run, same_bits
from attention_jax.kernels import Causal, Padding, Refused, Segments
from attention_jax.kernels.engines import recurrence

SPECS = ["linear", "performer:features=16", "retention", "gated_linear", "delta_net", "kimi_delta"]
# Shorter and longer than a chunk of 4, on and off its borders; ids in no order.
LENGTHS, NUMBERS = (3, 9, 1, 4, 5), (5, 1, 3, 9, 0)
IDS = np.repeat(NUMBERS, LENGTHS)[None]


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(recurrence, "CHUNK", 4)


@functools.partial(quick_jit, static_argnames="spec")
def call(spec, inputs, mask, state=None):
    result = run(spec, inputs, mask=mask, state=state, engine="recurrence", outputs=("out", "state"))
    return result.out, result.state


def packed(spec, **options):
    return make(spec, batch=1, queries=IDS.shape[1], **options)


def cut(inputs, start, end):
    return inputs.with_tokens(lambda array: array[:, start:end])


@pytest.mark.parametrize("spec", SPECS)
def test_each_document_is_as_if_it_were_alone(spec):
    inputs = packed(spec)
    out, state = call(spec, inputs, Causal() & Segments(IDS))
    for number in NUMBERS:
        alone, last = call(spec, inputs, Causal() & Padding(number == IDS))
        assert error(out[number == IDS], alone[number == IDS]) < AGREEMENT
    assert error(state.total, last.total) < AGREEMENT


@pytest.mark.parametrize("what", [np.nan, 1e30, 3e38])
@pytest.mark.parametrize("spec", SPECS)
def test_what_one_document_holds_does_not_reach_another(spec, what):
    """NaN, and what overflows in a product or in the state; 1e30 times 1e30 is infinity, and 0 times that is NaN."""
    inputs, own = packed(spec), (IDS == 1)[0]
    spoiled = inputs._replace(key=inputs.key.at[:, own].set(what), value=inputs.value.at[:, own].set(what))
    weighing = np.random.default_rng(0).normal(size=(*inputs.query.shape[:3], 5)) * ~own[None, :, None, None]
    arguments = {"engine": "recurrence", "mask": Causal() & Segments(IDS)}
    (out, gradients), (clean, clean_gradients) = (
        out_and_gradients(spec, case, weighing, **arguments) for case in (spoiled, inputs)
    )
    assert same_bits(out[:, ~own], clean[:, ~own])
    for ours, plain in zip(gradients.tokens, clean_gradients.tokens, strict=True):
        assert same_bits(ours[:, ~own], plain[:, ~own])
    # Within the document what overflows may meet its weight of 0.
    assert not np.isnan(what) or (same_bits(gradients, clean_gradients) and np.isnan(out[:, own]).all())


@pytest.mark.parametrize("spec", ["linear", "delta_net"])
def test_an_id_that_comes_back_gives_nan_and_touches_no_other(spec):
    inputs = packed(spec)
    returning = np.where(IDS == 9, 1, IDS)
    out, _ = call(spec, inputs, Causal() & Segments(returning))
    right, _ = call(spec, inputs, Causal() & Segments(IDS))
    assert np.isnan(out[IDS == 9]).all()
    assert same_bits(out[IDS != 9], right[IDS != 9])


@pytest.mark.parametrize("parts", [[1] * 22, [3, 9, 10], [5, 5, 12]], ids=["tokens", "at borders", "off borders"])
@pytest.mark.parametrize("spec", ["performer:features=16", "kimi_delta"])
def test_any_split_equals_one_pass(spec, parts):
    ids = np.repeat([1, 2, 3, 4, 0], LENGTHS)[None]
    inputs = packed(spec)
    whole, last = call(spec, inputs, Causal() & Segments(ids))
    outs, state, start = [], None, 0
    for size in parts:
        part = slice(start, start + size)
        out, state = call(spec, cut(inputs, start, start + size), Causal() & Segments(ids[:, part]), state)
        outs.append(np.asarray(out))
        start += size
    assert error(np.concatenate(outs, axis=1), whole) < AGREEMENT
    assert error(state.total, last.total) < AGREEMENT
    assert same_bits(state.segment, last.segment)


def test_a_later_call_knows_the_ids_before_it_by_their_range():
    inputs = packed("retention")
    head, tail = cut(inputs, 0, 4), cut(inputs, 4, 6)
    _, state = call("retention", head, Causal() & Segments(np.array([[2, 2, 4, 4]])))
    np.testing.assert_array_equal(state.segment, [[4, 2, 4]])
    for ids, rows_of_nan in (([4, 5], 0), ([5, 5], 0), ([1, 0], 0), ([2, 5], 1), ([3, 5], 1), ([5, 4], 1), ([2, 2], 2)):
        out, _ = call("retention", tail, Causal() & Segments(np.array([ids])), state)
        assert np.isnan(out).all((2, 3)).sum() == np.isnan(out).any((2, 3)).sum() == rows_of_nan, ids


def test_the_poison_of_a_document_ends_with_it_between_calls_too():
    inputs = packed("retention")
    head, tail = cut(inputs, 0, 2), cut(inputs, 2, 4)
    head = head._replace(value=head.value.at[:, 0, 0].set(jnp.nan))
    _, state = call("retention", head, Causal() & Segments(np.array([[1, 1]])))
    np.testing.assert_array_equal(state.poisoned, [[True, False]])
    out, state = call("retention", tail, Causal() & Segments(np.array([[1, 2]])), state)
    np.testing.assert_array_equal(np.isnan(out[..., 0]), [[[True, True, False, False], [False] * 4]])
    assert not state.poisoned.any()


def test_padding_beside_segments_hides_tokens_and_keeps_borders():
    """A hidden token at a border starts its segment all the same, and a segment of hidden tokens alone gives 0."""
    inputs = packed("gated_delta_net")
    real = np.ones(IDS.shape, bool)
    real[0, [3, 12, 20]] = False
    out, _ = call("gated_delta_net", inputs, Causal() & Segments(IDS) & Padding(real))
    assert (out[0, 12] == 0).all()
    second, _ = call("gated_delta_net", cut(inputs, 4, 12), Causal())
    assert error(out[:, 4:12], second) < AGREEMENT


def test_a_state_of_packed_documents_and_one_of_a_single_document_are_not_exchanged():
    inputs = packed("retention")
    _, single = call("retention", inputs, Causal())
    _, of_packed = call("retention", inputs, Causal() & Segments(IDS))
    for mask, state in ((Causal(), of_packed), (Causal() & Segments(IDS), single)):
        with pytest.raises(Refused, match=r"not one of retention .* with or without Segments as here"):
            call("retention", inputs, mask, state)


def test_segments_differ_between_sequences_and_under_vmap():
    inputs = make("gated_linear", queries=6)
    ids = np.array([[0, 0, 1, 1, 1, 2], [7, 7, 7, 7, 3, 3]])
    both, _ = call("gated_linear", inputs, Causal() & Segments(ids))
    split = Inputs(
        *(array[:, None] for array in inputs[:3]), inputs.params, {"gate": inputs.per_token["gate"][:, None]}
    )
    axes = Inputs(0, 0, 0, None, 0)
    each = jax.vmap(lambda case, ids: call("gated_linear", case, Causal() & Segments(ids))[0], in_axes=(axes, 0))
    assert error(each(split, ids[:, None])[:, 0], both) < AGREEMENT
