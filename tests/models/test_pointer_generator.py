"""Pointer-generator networks: the forward pass by loops in float64, copies, padding, steps, and a copied word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.decoding import advance_of
from attention_jax.decoding.protocol import of_hypotheses
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.models.catalogue import LOSSES
from attention_jax.models.pointer_generator import final_distribution
from tests.layers.arrays import apply, random_variables
from tests.models.test_bidaf import bilstm, lstm, sigmoid, softmax

# The LSTM of the oracle has this width.
W, V, M = 3, 7, 2
FACTS = {"vocabulary_size": V, "oov_words": M, "target_length": 4, "begin": 2, "end": 3, "unknown": 1}
SIZES = {"width": 4, "encoder": {"width": W, "bidirectional": True}, "decoder": {"width": W}}
BATCH = {
    "source": np.array([[4, 1, 5, 1, 4], [1, 6, 0, 0, 0], [5, 0, 0, 0, 0]], np.int32),
    "source_extended": np.array([[4, 7, 5, 8, 4], [7, 6, 0, 0, 0], [5, 0, 0, 0, 0]], np.int32),
    "source_lengths": np.array([5, 2, 1], np.int32),
    "inputs": np.array([[2, 8, 4, 7], [2, 7, 6, 0], [2, 0, 0, 0]], np.int32),
    "target_lengths": np.array([4, 3, 1], np.int32),
}


def built(**options):
    return models.build("pointer_generator", facts={**FACTS, **options.pop("facts", {})}, **{**SIZES, **options})


def expected(row, params):
    """Returns the probabilities [t, V + M] of a row and the sum of what is covered twice, step by step."""
    source = BATCH["source"][row, : BATCH["source_lengths"][row]]
    states = bilstm(params["token"]["embedding"][source], params["encode"], 1)
    # The last state of each direction: forward at the last token, backward at the first.
    own = params["encode"]["forward_1"], params["encode"]["backward_1"]
    carried = [
        last_carry(params["token"]["embedding"][order], one)
        for order, one in zip((source, source[::-1]), own, strict=True)
    ]
    carry = [
        np.maximum(np.concatenate([one[part] for one in carried]) @ dense["kernel"] + dense["bias"], 0)
        for part, dense in enumerate((params["begin_1"], params["begin_2"]))
    ]
    covered, found, twice = np.zeros(len(source)), [], 0.0
    align = {name.removeprefix("aligned_"): array for name, array in params["align"].items()}
    for token in BATCH["inputs"][row, : BATCH["target_lengths"][row]]:
        x = params["token"]["embedding"][token if token < V else 1]
        carry = one_step(x, carry, params["decode"]["forward_1"])
        scores = [energy(align, carry[0], state, c) for state, c in zip(states, covered, strict=True)]
        weights = softmax(np.array(scores))
        twice += np.minimum(weights, covered).sum()
        covered = covered + weights
        context = weights @ states
        inner = np.concatenate([carry[0], context]) @ params["readout"]["kernel"] + params["readout"]["bias"]
        words = softmax(inner @ params["vocabulary"]["kernel"] + params["vocabulary"]["bias"])
        gate = sigmoid(
            np.concatenate([context, carry[0], x]) @ params["generate"]["kernel"] + params["generate"]["bias"]
        )
        both = np.concatenate([gate * words, np.zeros(M)])
        for place, weight in enumerate(weights):
            both[BATCH["source_extended"][row, place]] += (1 - gate[0]) * weight
        found.append(both)
    return np.stack(found), twice


def energy(align, query, key, covered):
    """v^T tanh(W_h h + W_s s + w_c c + b)."""
    inner = np.einsum("h,hu->u", query, align["query"][0]) + np.einsum("h,hu->u", key, align["key"][0])
    return np.tanh(inner + covered * align["covered"][0] + align["bias"][0]) @ align["value"][0]


def one_step(x, carry, params):
    gates = x @ params["input_kernel"] + params["input_bias"] + carry[0] @ params["recurrent_kernel"]
    write, keep, candidate, show = np.split(gates, 4)
    cell = sigmoid(keep) * carry[1] + sigmoid(write) * np.tanh(candidate)
    return [sigmoid(show) * np.tanh(cell), cell]


def last_carry(inputs, params):
    carry = [np.zeros(W), np.zeros(W)]
    for x in inputs:
        carry = one_step(x, carry, params)
    np.testing.assert_allclose(carry[0], lstm(inputs, params)[-1])
    return carry


def test_it_is_what_the_paper_says_and_so_is_the_coverage_loss():
    model = built(coverage_weight=2.0)
    variables = random_variables(model, **BATCH)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    found, sown = model.apply(variables, **BATCH, mutable=[LOSSES, LOOKED_AT])
    twice = 0.0
    for row, length in enumerate(BATCH["target_lengths"]):
        probabilities, more = expected(row, params)
        np.testing.assert_allclose(np.exp(found[row, :length]), probabilities, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(probabilities.sum(-1), 1)
        twice += more
    (loss,) = sown[LOSSES]["coverage"]
    np.testing.assert_allclose(loss, 2.0 * twice / BATCH["target_lengths"].sum(), rtol=1e-4)
    (weights,) = sown[LOOKED_AT]["align"]["weights"]
    assert weights.shape == (3, 1, 4, 5)


def test_what_a_word_has_of_several_places_is_added_up_exactly():
    weights = jnp.array([[[0.5, 0.25, 0.125, 0.125]]])
    extended = jnp.array([[8, 2, 8, 8]])
    found = final_distribution(jnp.zeros((1, 1, V)), weights, jnp.zeros((1, 1, 1)), extended, M)
    np.testing.assert_array_equal(found[0, 0], [0, 0, 0.25, 0, 0, 0, 0, 0, 0.75])
    gradient = jax.grad(
        lambda given: final_distribution(jnp.zeros((1, 1, V)), given, jnp.zeros((1, 1, 1)), extended, M)[0, 0, 8]
    )(weights)
    np.testing.assert_array_equal(gradient[0, 0], [1, 0, 1, 1])


@pytest.mark.parametrize("options", [{}, {"attention": "additive", "coverage_weight": 0.0}], ids=str)
def test_padding_touches_nothing_and_gradients_are_finite(options):
    model = built(**options)
    variables = random_variables(model, **BATCH)

    def with_padding(token):
        arrays = dict(BATCH)
        for name, of in (("source", "source"), ("source_extended", "source"), ("inputs", "target")):
            padding = np.arange(BATCH[name].shape[1]) >= BATCH[f"{of}_lengths"][:, None]
            arrays[name] = np.where(padding, token, BATCH[name])
        return arrays

    real = np.arange(4) < BATCH["target_lengths"][:, None]

    def loss(params, arrays):
        found, sown = model.apply({"params": params}, **arrays, deterministic=False, mutable=[LOSSES])
        # A word that is not there has a probability of 0.
        return sum(jax.tree.leaves(sown), jnp.where(real, found[..., 8], 0).sum()), jnp.where(real[..., None], found, 0)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, found), gradients = run(variables["params"], with_padding(0))
    (_, others), other_gradients = run(variables["params"], with_padding(6))
    np.testing.assert_allclose(found, others, atol=1e-5)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"attention": "additive", "coverage_weight": 0.0}, {"facts": {"oov_words": 0}}], ids=str
)
def test_steps_are_the_rows_of_one_pass_for_several_continuations_too(options):
    model = built(**options)
    variables = random_variables(model, **BATCH)
    whole = apply(model, variables, **BATCH)
    advance = advance_of(model, variables)
    source = {name: array for name, array in BATCH.items() if name.startswith("source")}
    state = model.apply(variables, **source, method="start")
    logits, state = advance(state, BATCH["inputs"][:, :2], np.minimum(BATCH["target_lengths"], 2))
    np.testing.assert_allclose(logits, whole[np.arange(3), [1, 1, 0]], atol=1e-5)
    # Two continuations of each, of which the second is what the pass has read.
    state = of_hypotheses(lambda leaf: jnp.repeat(leaf, 2, axis=0), state)
    tokens = np.stack([np.full(3, 5), BATCH["inputs"][:, 2]], axis=1).reshape(-1, 1)
    logits, _ = advance(state, tokens, np.ones(6, np.int32))
    np.testing.assert_allclose(logits[1::2][:2], whole[:2, 2], atol=1e-5)


def test_what_does_not_go_together_is_refused():
    arrays = {name: array for name, array in BATCH.items() if name != "source_extended"}
    for options, given, message in (
        (
            {"attention": "additive"},
            BATCH,
            r"^model\.coverage_weight=1\.0 is for .* use model\.attention=coverage, or ",
        ),
        ({"decoder": {"width": W, "cell": "gru"}}, BATCH, r"^model\.decoder\.cell does not go on"),
        ({"decoder": {"width": W, "bidirectional": True}}, BATCH, r"^model\.decoder\.bidirectional=True would read"),
        ({}, arrays, r"copies, and the batch has no source_extended: use data summaries\."),
    ):
        model = built(**options)
        with pytest.raises(Refused, match=message):
            jax.eval_shape(lambda model=model, given=given: model.init(jax.random.key(0), **given))
