"""Recurrent sequence to sequence: the papers' equations in float64 loops, steps against full passes, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.decoding import beam_search, prompted
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import random_variables

V, S, T, D, W, E = 11, 5, 6, 4, 6, 6
FACTS = {"vocabulary_size": V, "source_length": S, "target_length": T, "begin": 1, "end": 2}
SOURCE = jnp.array([[3, 4, 5, 6, 2], [7, 8, 2, 0, 0], [9, 2, 0, 0, 0]])
INPUTS = jnp.array([[1, 5, 6, 7, 8, 9], [1, 4, 3, 0, 0, 0], [1, 10, 9, 8, 0, 0]])
LENGTHS = {"source_lengths": jnp.array([5, 3, 2]), "target_lengths": jnp.array([6, 3, 4])}
# Each alignment function of the papers, and some variants of other families.
LUONG = ["general", "dot", "concat", "location", "local_m:window=2", "local_p:window=2", "scaled_dot"]
OTHERS = ["monotonic", "mocha:window=2", "coverage", "location_sensitive", "sparsemax", "gumbel", "none", "static"]


def build(attention="general", form="luong", **options):
    encoder = {"cell": "gru", "width": E // 2, "bidirectional": True}
    decoder = {"cell": "lstm" if form == "luong" else "gru_reset_before", "width": W}
    sizes = {"width": D, "encoder": encoder, "decoder": decoder, **options}
    model = models.build("seq2seq", facts=FACTS, attention=attention, form=form, **sizes)
    return model, random_variables(model, SOURCE, INPUTS, stddev=0.6)


@functools.cache
def compiled(model, method=None):
    return jax.jit(functools.partial(model.apply, method=method))


def every(function):
    """Runs a test on each attention in the form "luong", and on some in "bahdanau"."""
    cases = [(attention, "luong") for attention in (*LUONG, *OTHERS)]
    cases += [(attention, "bahdanau") for attention in ("additive", "general", "monotonic", "none", "static")]
    return pytest.mark.parametrize(("attention", "form"), cases)(function)


def softmax(scores):
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def sigmoid(array):
    return 1 / (1 + np.exp(-array))


def in_float64(variables):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])


def encoded(model, variables, row):
    """The memory of one source and what the decoder starts from, by the model's own encoder, whose tests are others."""
    length = int(LENGTHS["source_lengths"][row])
    memory, last, _ = model.apply(
        variables, SOURCE[row : row + 1, :length], None, deterministic=True, method="_encoded"
    )
    return np.asarray(memory[0], np.float64), np.asarray(last[0], np.float64)


def dense(params, name, array):
    return array @ params[name]["kernel"] + params[name]["bias"]


def test_the_decoder_of_bahdanau_is_that_of_the_appendix():
    """Section A.2.2: z and r of E y, s_{i-1} and c_i; s~ with the reset state; a maxout layer of s_{i-1}, E y, c_i."""
    model, variables = build("additive", "bahdanau")
    found = compiled(model)(variables, SOURCE, INPUTS, **LENGTHS)
    params = in_float64(variables)
    decoder = params["aligned_decoder"]
    w_a, u_a, v_a = (decoder[f"variant_{name}"] for name in ("query", "key", "value"))
    into, fed, kernel = (decoder[f"layer_1_{name}_kernel"] for name in ("input", "fed", "recurrent"))
    for row in range(3):
        memory, last = encoded(model, variables, row)
        state = np.tanh(dense(decoder, "start", last))
        for place in range(int(LENGTHS["target_lengths"][row])):
            token = params["token"]["embedding"][int(INPUTS[row, place])]
            energies = [v_a[0] @ np.tanh(state @ w_a[0] + one @ u_a[0]) for one in memory]
            context = softmax(np.array(energies)) @ memory
            given = token @ into + context @ fed + decoder["layer_1_input_bias"]
            reset = sigmoid(given[:W] + state @ kernel[:, :W])
            update = sigmoid(given[W : 2 * W] + state @ kernel[:, W : 2 * W])
            candidate = np.tanh(given[2 * W :] + (reset * state) @ kernel[:, 2 * W :])
            twice = dense(decoder, "maxout", np.concatenate([state, token, context]))
            out = np.array([max(twice[2 * unit], twice[2 * unit + 1]) for unit in range(W)])
            np.testing.assert_allclose(found[row, place], dense(params, "head", out), atol=2e-5)
            state = update * state + (1 - update) * candidate


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize("attention", ["general", "dot"])
def test_the_decoder_of_luong_is_that_of_the_paper(attention, feeding):
    """Equations 5, 7 and 8, and section 3.3: h~_{t-1} beside the token's vector where it is fed."""
    model, variables = build(attention, input_feeding=feeding)
    found = compiled(model)(variables, SOURCE, INPUTS, **LENGTHS)
    params = in_float64(variables)
    decoder = params["aligned_decoder"]
    if feeding:
        into, kernel, bias = (decoder[f"layer_1_{name}"] for name in ("input_kernel", "recurrent_kernel", "input_bias"))
        into = np.concatenate([into, decoder["layer_1_fed_kernel"]])
    else:
        layer = decoder["layers"]["forward_1"]
        into, kernel, bias = (layer[name] for name in ("input_kernel", "recurrent_kernel", "input_bias"))
    bilinear = decoder["variant_weight"][0] if attention == "general" else np.eye(W)
    for row in range(3):
        memory, last = encoded(model, variables, row)
        hidden, cell = np.split(np.tanh(dense(decoder, "start", last)), 2)
        fed = np.zeros(W)
        for place in range(int(LENGTHS["target_lengths"][row])):
            token = params["token"]["embedding"][int(INPUTS[row, place])]
            gates = (np.concatenate([token, fed]) if feeding else token) @ into + bias + hidden @ kernel
            write, keep, candidate, show = np.split(gates, 4)
            cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(candidate)
            hidden = sigmoid(show) * np.tanh(cell)
            context = softmax(np.array([hidden @ bilinear @ one for one in memory])) @ memory
            fed = np.tanh(dense(decoder, "combined", np.concatenate([context, hidden])))
            np.testing.assert_allclose(found[row, place], dense(params, "head", fed), atol=2e-5)


@every
def test_steps_are_the_full_pass(attention, form):
    plain = attention in ("general", "monotonic") and form == "luong"
    for options in ({}, {"input_feeding": False}) if plain else ({},):
        model, variables = build(attention, form, **options)
        of_source = {"source_lengths": LENGTHS["source_lengths"]}
        full = compiled(model)(variables, SOURCE, INPUTS, **of_source)
        for first in (1, 4):
            state = compiled(model, "start")(variables, SOURCE, **of_source)
            logits, state = compiled(model, "advance")(variables, state, INPUTS[:, :first], jnp.full(3, first))
            np.testing.assert_allclose(logits, full[:, first - 1], atol=2e-5)
            for place in range(first, T):
                token = INPUTS[:, place : place + 1]
                logits, state = compiled(model, "advance")(variables, state, token, jnp.ones(3, jnp.int32))
                np.testing.assert_allclose(logits, full[:, place], atol=2e-5)


@every
def test_padding_touches_nothing(attention, form):
    model, variables = build(attention, form)
    found = compiled(model)(variables, SOURCE, INPUTS, **LENGTHS)
    assert np.isfinite(found).all()
    loud = [jnp.where(jnp.arange(array.shape[1]) < length[:, None], array, 10) for array, length in
            ((SOURCE, LENGTHS["source_lengths"]), (INPUTS, LENGTHS["target_lengths"]))]  # fmt: skip
    again = compiled(model)(variables, *loud, **LENGTHS)
    for row in range(3):
        length = int(LENGTHS["target_lengths"][row])
        np.testing.assert_array_equal(found[row, :length], again[row, :length])
    alone = compiled(model)(variables, SOURCE[1:2, :3], INPUTS[1:2, :3])
    np.testing.assert_allclose(found[1, :3], alone[0], atol=2e-5)


@every
def test_no_gradient_is_lost_or_infinite(attention, form):
    model, variables = build(attention, form)

    def loss(params):
        logits = model.apply({"params": params}, SOURCE, INPUTS, **LENGTHS)
        return jnp.sum(jnp.sin(logits))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def test_a_row_without_new_tokens_stays_as_it_is():
    model, variables = build("monotonic")
    state = model.apply(variables, SOURCE, source_lengths=LENGTHS["source_lengths"], method="start")
    _, state = model.apply(variables, state, INPUTS[:, :2], jnp.array([2, 1, 2]), method="advance")
    _, after = model.apply(variables, state, INPUTS[:, 2:3], jnp.array([1, 0, 0]), method="advance")
    for one, other in zip(jax.tree.leaves(state["decoder"]), jax.tree.leaves(after["decoder"]), strict=True):
        np.testing.assert_array_equal(one[1:], other[1:])
    assert state["decoder"].number.tolist() == [2, 1, 2]
    assert after["decoder"].number.tolist() == [3, 1, 2]


@pytest.mark.parametrize("attention", ["general", "local_m:window=2", "monotonic", "none"])
def test_beams_share_the_memory_and_find_what_full_passes_find(attention):
    model, variables = build(attention)
    sources = [[3, 4, 5, 6], [7, 8]]
    before = prompted(model, variables, sources, max_new_tokens=T)
    search = jax.jit(beam_search, static_argnames=("beams", "max_new_tokens", "end"))
    found = search(before.advance, before.state, before.prompt, before.lengths, beams=3, max_new_tokens=T, end=(2,))
    for row, source in enumerate(sources):
        tokens = np.asarray(found.tokens[row, 0, : found.lengths[row, 0]]).tolist()
        logits = model.apply(variables, jnp.array([[*source, 2]]), jnp.array([[1, *tokens[:-1]]]))
        log_probability = jax.nn.log_softmax(logits[0])[jnp.arange(len(tokens)), jnp.array(tokens)].sum()
        np.testing.assert_allclose(found.log_probability[row, 0], log_probability, atol=1e-4)


@pytest.mark.parametrize("form", ["luong", "bahdanau"])
@pytest.mark.parametrize("attention", ["general", "coverage"])
def test_weights_can_be_looked_at_and_are_those_of_the_pass(attention, form):
    model, variables = build(attention, form)
    found, sown = model.apply(variables, SOURCE, INPUTS, **LENGTHS, mutable=[LOOKED_AT])
    np.testing.assert_array_equal(found, model.apply(variables, SOURCE, INPUTS, **LENGTHS))
    (weights,) = sown[LOOKED_AT]["aligned_decoder"]["weights"]
    assert weights.shape == (3, 1, T, S)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert not weights[1, :, :, 3:].any()


def test_dropout_and_draws_are_of_training_alone():
    model, variables = build("gumbel", dropout_rate=0.0)
    still = model.apply(variables, SOURCE, INPUTS, **LENGTHS)
    drawn = [
        model.apply(variables, SOURCE, INPUTS, **LENGTHS, deterministic=False, rngs={"dropout": jax.random.key(seed)})
        for seed in (0, 1)
    ]
    assert not np.array_equal(*drawn)
    assert not np.array_equal(still, drawn[0])
    model, variables = build(dropout_rate=0.5)
    dropped = model.apply(variables, SOURCE, INPUTS, deterministic=False, rngs={"dropout": jax.random.key(0)})
    assert not np.array_equal(dropped, model.apply(variables, SOURCE, INPUTS))


def test_the_output_can_be_tied_to_the_embeddings():
    model, variables = build(tied_output=True, share_embeddings=True)
    assert {"head", "source_token"}.isdisjoint(variables["params"])
    assert model.apply(variables, SOURCE, INPUTS).shape == (3, T, V)


def test_several_layers_are_one_over_the_other():
    for form in ("luong", "bahdanau"):
        model, variables = build(form=form, decoder={"cell": "gru", "width": W, "num_layers": 2})
        assert "layer_2_recurrent_kernel" in variables["params"]["aligned_decoder"]
        full = model.apply(variables, SOURCE, INPUTS)
        state = model.apply(variables, SOURCE, method="start")
        logits, _ = model.apply(variables, state, INPUTS, jnp.full(3, T), method="advance")
        np.testing.assert_allclose(logits, full[:, -1], atol=2e-5)


@pytest.mark.parametrize(
    ("attention", "form", "message"),
    [
        ("general", "loung", r"model\.form='loung'.*give bahdanau or luong"),
        ("generl", "luong", "generl.*general"),
        ("forgetting", "luong", "takes .* of each token"),
        ("hard", "luong", "has no derivative, .*gumbel:hard=True"),
    ],
)
def test_what_cannot_be_is_refused(attention, form, message):
    with pytest.raises(Refused, match=message):
        build(attention, form)


def test_dot_needs_equal_widths():
    with pytest.raises(Refused, match="dot"):
        build("dot", decoder={"cell": "gru", "width": W + 1})
