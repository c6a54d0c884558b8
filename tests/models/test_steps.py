"""Decoding in steps: a model gives, token by token and however its tokens are split, what one pass over all gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import SPECS, quick_jit, widely
from attention_jax.kernels import Refused, lookup
from attention_jax.kernels.cache import decodes
from attention_jax.models.gpt import GPT
from tests.layers.arrays import random_variables

VOCABULARY, LENGTH = 11, 6
RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(VOCABULARY, size=(2, LENGTH)), jnp.int32)
SOURCE = jnp.asarray(RNG.integers(VOCABULARY, size=(2, 5)), jnp.int32)
SOURCE_LENGTHS = jnp.array([5, 3])
SIZES = {"num_layers": 2, "num_heads": 2, "width": 8, "init_stddev": 0.4}
CAUSAL = [spec for spec in SPECS if lookup(spec).claims.causal == "strict"]
WITH_STEPS = [spec for spec in CAUSAL if decodes(lookup(spec)) in ("cache", "state")]
# One with a cache of all keys, one with a window, one of grouped alignment, and states of each kind.
USUAL = {"scaled_dot", "sliding_window", "additive", "linear", "delta_net", "mamba2", "rwkv7"}
# Layers that read those below them.
DEPTH = {"value_residual": "per_token", "residual": "attention_over_depth"}
# How many new tokens each of the two sequences has in each call; together all of them, for the first.
SPLIT = ((3, 1), (1, 2), (1, 0), (1, 1))


def gpt(**options) -> GPT:
    return models.build("gpt", facts={"vocabulary_size": VOCABULARY, "length": LENGTH}, **{**SIZES, **options})


def in_steps(model, variables, state, split):
    """Returns the logits after each call that gives a sequence new tokens, and how many it then has."""
    found, before = [], np.zeros(2, int)
    for lengths in split:
        widest, lengths = max(lengths), np.array(lengths)
        places = np.minimum(before[:, None] + np.arange(widest), LENGTH - 1)
        new = jnp.take_along_axis(TOKENS, jnp.asarray(places), axis=1)
        logits, state = model.apply(variables, state, new, jnp.asarray(lengths), method="advance")
        before = before + lengths
        found.append((logits, lengths, before))
    return found


def assert_steps_equal(whole, found):
    scale = float(np.std(whole))
    for logits, lengths, after in found:
        for row in np.flatnonzero(lengths):
            np.testing.assert_allclose(logits[row], whole[row, after[row] - 1], rtol=0, atol=2e-5 * scale)


def check_gpt(model: GPT, split=SPLIT) -> None:
    variables = random_variables(model, TOKENS, stddev=0.4)
    if "buffers" in variables:
        # What is drawn and not trained has a meaning that other numbers have not.
        variables = {**variables, "buffers": quick_jit(model.init)(jax.random.key(0), TOKENS)["buffers"]}

    @quick_jit
    def both(variables):
        state = model.apply(variables, 2, method="start")
        steps = in_steps(model, variables, state, split)
        return model.apply(variables, TOKENS), [logits for logits, _, _ in steps], state

    whole, logits, state = both(variables)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state)} == {2}
    lengths = [np.array(one) for one in split]
    assert_steps_equal(np.asarray(whole), list(zip(logits, lengths, np.cumsum(lengths, axis=0), strict=True)))


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=[] if lookup(spec).name in USUAL else [pytest.mark.wide]) for spec in WITH_STEPS],
)
def test_steps_of_a_language_model_equal_one_pass(spec):
    check_gpt(gpt(attention=spec))


@pytest.mark.parametrize("split", [((6, 6),), ((1, 1),) * 6, ((1, 6), (5, 0))], ids=str)
def test_any_split_equals_one_pass(split):
    check_gpt(gpt(attention=("scaled_dot", "linear")), split)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "rope:base=100.0"},
        {"positions": "alibi", "num_kv_heads": 1},
        {"positions": "t5:buckets=8,bidirectional=False", "shared_positions": True},
        {"positions": "sinusoidal", "scan_layers": True},
        {"positions": ("rope", "none"), "window": (2, None), "norm": "rms", "norm_position": "sandwich", "gated": True,
         "query_key_norm": True, "head_width": 6, "query_scale": 0.5, "logit_cap": 30.0,
         "embedding_scale": "sqrt_width"},
        {"layer_groups": 1, "embedding_norm": True, "norm_position": "post"},
        {**DEPTH, "num_layers": 3, "num_kv_heads": 1, "remat": "full"},
        {**DEPTH, "num_layers": 3, "scan_layers": True, "remat": "full"},
    ],
    ids=["rope", "alibi", "t5", "scan", "gemma", "albert", "depth", "depth scanned"],
)  # fmt: skip
def test_steps_equal_one_pass_whatever_the_stack(options):
    check_gpt(gpt(**options))


@pytest.mark.parametrize("options", [{"value_residual": "learned"}, DEPTH], ids=["values", "both"])
def test_a_stack_that_reads_its_layers_is_split_anywhere(options):
    check_gpt(gpt(**options, num_layers=3), ((1, 1),) * 6)


def state_of(model: GPT) -> list[jax.ShapeDtypeStruct]:
    """Returns the arrays that the stack of a model keeps of two sequences."""

    def started():
        return model.apply(model.init(jax.random.key(0), TOKENS), 2, method="start")["stack"]

    return jax.tree.leaves(jax.eval_shape(started))


@pytest.mark.parametrize(
    "options",
    [
        # A window of their own, one of the stack, and mixers that keep something else than keys and values.
        {"attention": ("sliding_window:window=2,sinks=1", "scaled_dot"), "positions": "rope"},
        {"attention": "mla:latent=5,rotary=2", "window": 3, "positions": "rope"},
        {"attention": "aft:form=local,window=3,factors=4", "window": (2, None)},
        {"attention": "scaled_dot:recipe=canon", "window": 2, "scan_layers": True},
    ],
    ids=["sinks", "mla", "aft", "convolutions"],
)
@pytest.mark.parametrize("split", [SPLIT, ((5, 1), (1, 5))], ids=["split", "long prompt"])
def test_layers_with_windows_keep_what_they_see_alone(options, split):
    model = gpt(**options)
    check_gpt(model, split)
    # Keys and values are [B, K, slots, H]; where blocks are scanned over, the layers stand before the heads.
    slots = [leaf.shape[-2] for leaf in state_of(model) if leaf.ndim >= 4]
    assert min(slots) < LENGTH


def test_the_bytes_of_a_model_are_those_of_its_state():
    options = {"window": (2, None), "positions": ("rope", "none"), "num_kv_heads": 1}
    for attention in ("scaled_dot", ("sliding_window:window=3,sinks=1", "mla:latent=5")):
        model = gpt(attention=attention, **options)
        assert models.decode_bytes(model) == sum(leaf.size * leaf.dtype.itemsize for leaf in state_of(model)) / 2
    window, whole = (models.decode_bytes(gpt(window=size)) for size in (2, None))
    # Two keys and values of two heads of width 4 in each of two layers, where there were six, and a length.
    assert (window, whole) == (2 * (2 * 2 * 8 * 4 + 4), 2 * (2 * 6 * 8 * 4 + 4))


@pytest.mark.parametrize("spec", [spec for spec in CAUSAL if spec not in WITH_STEPS])
def test_attention_without_steps_is_refused(spec):
    model = gpt(attention=spec)
    with pytest.raises(Refused, match="has no steps"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), 2, method="start"))


@pytest.mark.parametrize(
    "cross",
    [
        "scaled_dot",
        "additive:hidden=3",
        "monotonic:hidden=3",
        *widely(["linear", "location_sensitive", "mocha", "gmm"]),
    ],
)
def test_steps_of_a_translator_equal_one_pass(cross):
    check_translator(cross)


def test_steps_of_a_translator_whose_layers_read_those_below_equal_one_pass():
    check_translator("scaled_dot", **DEPTH, norm_position="pre")


def check_translator(cross, **options):
    facts = {"vocabulary_size": VOCABULARY, "source_length": 5, "target_length": LENGTH, "begin": 1, "end": 2}
    encoder = {**SIZES, **options}
    decoder = {**encoder, "cross_attention": cross, "norm_position": "pre"}
    model = models.build("transformer", facts=facts, encoder=encoder, decoder=decoder)
    variables = random_variables(model, SOURCE, TOKENS, stddev=0.4)
    split = ((1, 1), (3, 2), (1, 1), (1, 1))

    @quick_jit
    def both(variables):
        whole = model.apply(variables, SOURCE, TOKENS, source_lengths=SOURCE_LENGTHS)
        state = model.apply(variables, SOURCE, source_lengths=SOURCE_LENGTHS, method="start")
        return whole, [logits for logits, _, _ in in_steps(model, variables, state, split)], state

    whole, logits, state = both(variables)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state)} == {2}
    lengths = [np.array(one) for one in split]
    assert_steps_equal(np.asarray(whole), list(zip(logits, lengths, np.cumsum(lengths, axis=0), strict=True)))


@functools.cache
def translator():
    facts = {"vocabulary_size": VOCABULARY, "source_length": 5, "target_length": LENGTH, "begin": 1, "end": 2}
    return models.build("transformer", facts=facts, encoder=SIZES, decoder=SIZES)


def test_no_padding_of_the_source_or_the_target_is_seen():
    model = translator()
    variables = random_variables(model, SOURCE, TOKENS, stddev=0.4)

    @quick_jit
    def logits(variables, source, inputs):
        lengths = {"source_lengths": SOURCE_LENGTHS, "target_lengths": jnp.array([6, 4])}
        return model.apply(variables, source, inputs, **lengths)

    one = logits(variables, SOURCE, TOKENS)
    other = logits(variables, SOURCE.at[1, 3:].set(0), TOKENS.at[1, 4:].set(0))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1, :4], other[1, :4])
    changed = logits(variables, SOURCE.at[1, 2].set((SOURCE[1, 2] + 1) % VOCABULARY), TOKENS)
    assert float(jnp.abs(changed - one)[1].max()) > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": {"cross_attention": None}}, r"^model\.decoder\.cross_attention=None leaves the decoder without"),
        ({"decoder": {"width": 16}}, r"^model\.encoder\.width=512 and model\.decoder\.width=16 cannot share"),
        ({"encoder": {"widht": 16}}, r"^model 'transformer', encoder has no option 'widht' .*Did you mean 'width'"),
        (
            {"decoder": {"attention": "nystrom"}},
            r"^model transformer predicts the next token, and nystrom has no",
        ),
    ],
)
def test_what_a_translator_cannot_be_is_refused(changes, message):
    facts = {"vocabulary_size": VOCABULARY, "source_length": 5, "target_length": LENGTH, "begin": 1, "end": 2}

    def made():
        return models.build("transformer", facts=facts, **changes).init(jax.random.key(0), SOURCE, TOKENS)

    with pytest.raises(Refused, match=message):
        jax.eval_shape(made)
