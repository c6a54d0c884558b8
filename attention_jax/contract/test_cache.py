"""Decoding with a cache, in steps split anywhere, gives what one pass over the whole sequence gives."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    Inputs,
    claiming,
    claims,
    error,
    make,
    quick_jit,
    run_compiled,
    widely,
)
from attention_jax.contract.mask_cases import takes_mask
from attention_jax.kernels import (
    Causal,
    Global,
    KeyValueCache,
    Padding,
    PrefixLM,
    Refused,
    Sizes,
    Window,
    attend_cached,
    lookup,
    reach_of,
)

CACHED = [
    spec
    for spec in claiming(causal="strict", cross=True, rows_apart=True, state=False)
    if not lookup(spec).mechanism.per_token
]
CAPACITY = 9
MASKS = {
    "causal": Causal(),
    "window": Causal() & Window(3),
    "global": Causal() & (Window(2) | Global(2)),
    "prefix": PrefixLM(np.array([3, 1])),
}
TOKENS, CHUNKS, PREFILLED = (1,) * 7, (4, 1, 2), (6, 1)
# All but token by token under a causal mask. A prefix of three tokens is written in one step.
CASES = [("causal", PREFILLED), ("causal", CHUNKS), ("prefix", CHUNKS)]
CASES += [(kind, sizes) for kind in ("window", "global") for sizes in (TOKENS, CHUNKS)]


def empty(inputs, **sizes):
    """A cache whose slots hold NaN, as memory that nobody has written may."""
    (batch, _, kv_heads, key_width), value_width = inputs.key.shape, inputs.value.shape[-1]
    widths = Sizes(inputs.query.shape[2], kv_heads, inputs.query.shape[3], key_width, value_width)
    cache = KeyValueCache.empty(widths, **({"batch": batch, "capacity": CAPACITY} | sizes))
    return replace(cache, key=cache.key * jnp.nan, value=cache.value * jnp.nan)


@functools.partial(quick_jit, static_argnames=("spec", "outputs", "dropout_rate"))
def step(spec, part, cache, mask, *, new_lengths=None, bias=None, rng=None, dropout_rate=0.0, outputs=("out",)):
    return attend_cached(
        *part[:3], cache, variant=spec, params=part.params, mask=mask, new_lengths=new_lengths, bias=bias, rng=rng,
        dropout_rate=dropout_rate, outputs=outputs,
    )  # fmt: skip


def part_of(inputs, start, size):
    return Inputs(*(array[:, start : start + size] for array in inputs[:3]), inputs.params)


def in_steps(spec, inputs, mask, sizes, *, bias=None, reach=None, **arguments):
    """The outputs of one step after the other, joined."""
    cache, outs, start = empty(inputs, reach=reach), [], 0
    for size in sizes:
        own = None if bias is None else jnp.pad(bias[:, start : start + size], ((0, 0), (0, 0), (0, CAPACITY - 7)))
        result, cache = step(spec, part_of(inputs, start, size), cache, mask, bias=own, **arguments)
        outs.append(np.asarray(result.out))
        start += size
    return np.concatenate(outs, axis=1)


SPLIT = [(spec, *case) for spec in CACHED for case in CASES if takes_mask(spec, MASKS[case[0]])]


@pytest.mark.parametrize(
    ("spec", "kind", "sizes"),
    [(spec, "causal", TOKENS) for spec in CACHED] + widely(SPLIT),
    ids=str,
)
def test_any_split_equals_one_pass(spec, kind, sizes):
    inputs, mask = make(spec), MASKS[kind]
    assert error(in_steps(spec, inputs, mask, sizes), run_compiled(spec, inputs, mask=mask).out) < AGREEMENT


# Of a window alone, and of windows and sinks: the cache has fewer slots than there are tokens.
WITH_REACH = [
    (spec, kind, sizes)
    for spec in CACHED
    for kind in ("causal", "window", "global")
    for sizes in (TOKENS, CHUNKS)
    if takes_mask(spec, MASKS[kind]) and reach_of(MASKS[kind], variant=spec) is not None
]


@pytest.mark.parametrize(("spec", "kind", "sizes"), widely(WITH_REACH), ids=str)
def test_a_cache_of_what_the_mask_reaches_equals_one_pass(spec, kind, sizes):
    inputs, mask = make(spec), MASKS[kind]
    joined = in_steps(spec, inputs, mask, sizes, reach=reach_of(mask, variant=spec))
    assert error(joined, run_compiled(spec, inputs, mask=mask).out) < AGREEMENT


@pytest.mark.parametrize("spec", widely([spec for spec in CACHED if claims(spec).bias]))
def test_a_bias_counts_by_slot(spec):
    inputs = make(spec)
    bias = jnp.asarray(np.random.default_rng(3).normal(size=(4, 7, 7)), jnp.float32)
    joined = in_steps(spec, inputs, Causal(), CHUNKS, bias=bias)
    assert error(joined, run_compiled(spec, inputs, mask=Causal(), bias=bias).out) < AGREEMENT


@pytest.mark.parametrize("spec", widely([spec for spec in CACHED if claims(spec).dropout]))
def test_dropout_is_that_of_one_pass(spec):
    inputs, dropout = make(spec), {"rng": jax.random.key(4), "dropout_rate": 0.5}
    joined = in_steps(spec, inputs, Causal(), CHUNKS, **dropout)
    assert error(joined, run_compiled(spec, inputs, mask=Causal(), **dropout).out) < AGREEMENT
    assert error(joined, run_compiled(spec, inputs, mask=Causal()).out) > 0.1


@pytest.mark.parametrize("spec", widely(CACHED))
def test_sequences_of_unequal_lengths_padded_on_the_right(spec):
    inputs = make(spec)
    whole = np.asarray(run_compiled(spec, inputs, mask=Causal()).out)
    outputs = ("out", "lse") if claims(spec).lse else ("out",)
    cache, written = empty(inputs), np.zeros(2, int)
    for new in ([4, 2], [0, 4], [3, 1]):
        # What stands after the new tokens of a sequence is not felt, whatever it is.
        padded = [np.full((2, 4, *array.shape[2:]), np.nan, np.float32) for array in inputs[:3]]
        for b, (count, start) in enumerate(zip(new, written, strict=True)):
            for own, array in zip(padded, inputs[:3], strict=True):
                own[b, :count] = array[b, start : start + count]
        part = Inputs(*map(jnp.asarray, padded), inputs.params)
        result, cache = step(spec, part, cache, Causal(), new_lengths=jnp.array(new), outputs=outputs)
        for b, (count, start) in enumerate(zip(new, written, strict=True)):
            if count:
                assert error(result.out[b, :count], whole[b, start : start + count]) < AGREEMENT
            assert (np.asarray(result.out)[b, count:] == 0).all()
            assert result.lse is None or (np.asarray(result.lse)[b, :, count:] == -np.inf).all()
        written += new
    np.testing.assert_array_equal(cache.length, [7, 7])
    np.testing.assert_array_equal(cache.key[:, :, :7].swapaxes(1, 2), inputs.key)
    assert np.isnan(cache.key[:, :, 7:]).all()


@pytest.mark.parametrize("spec", widely(CACHED))
def test_padding_by_slot_hides_tokens_that_the_cache_holds(spec):
    inputs = make(spec)
    real = np.random.default_rng(6).random((2, CAPACITY)) < 0.6
    joined = in_steps(spec, inputs, Causal() & Padding(real), CHUNKS)
    assert error(joined, run_compiled(spec, inputs, mask=Causal() & Padding(real[:, :7])).out) < AGREEMENT


@pytest.mark.parametrize("spec", claiming(state=True))
def test_a_variant_with_a_state_needs_no_cache(spec):
    inputs = make(spec)
    with pytest.raises(Refused, match=r"continues from a state and needs no cache: call attend\(state="):
        attend_cached(*inputs[:3], empty(inputs), variant=spec, params=inputs.params, mask=Causal())


@pytest.mark.parametrize("spec", [spec for spec in claiming(state=False) if spec not in CACHED])
def test_a_variant_that_has_no_steps_is_refused(spec):
    inputs = make(spec)
    with pytest.raises(Refused, match=r"Use variant scaled_dot"):
        attend_cached(*inputs[:3], empty(inputs), variant=spec, params=inputs.params, mask=Causal())
