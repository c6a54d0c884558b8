"""HAN against its equations in float64 loops, with padding at both levels, empty sentences and empty documents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

FACTS = {"vocabulary_size": 11, "num_classes": 3}
GRU = {"cell": "gru", "width": 3, "bidirectional": True}
RNG = np.random.default_rng(0)
# The third document has an empty sentence between others, the fourth is of one word, the fifth has no sentence.
DOCUMENT = RNG.integers(11, size=(5, 4, 6)).astype(np.int32)
LENGTHS = np.array([4, 2, 3, 1, 0], np.int32)
SENTENCE_LENGTHS = np.array([[6, 1, 3, 2], [4, 5, 0, 0], [2, 0, 3, 0], [1, 0, 0, 0], [0, 0, 0, 0]], np.int32)
REAL = {"sentence_lengths": SENTENCE_LENGTHS, "lengths": LENGTHS}


def built(**options):
    return models.build("han", facts=FACTS, **{"width": 4, "words": GRU, "sentences": GRU, **options})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(cell, inputs):
    """Equations 1 to 4: the state after each input, in their order."""
    width = len(cell["recurrent_kernel"])
    state, states = np.zeros(width), []
    for vector in inputs:
        given = vector @ cell["input_kernel"] + cell["input_bias"]
        own = state @ cell["recurrent_kernel"]
        reset = sigmoid(given[:width] + own[:width])
        update = sigmoid(given[width : 2 * width] + own[width : 2 * width])
        candidate = np.tanh(given[2 * width :] + reset * (own[2 * width :] + cell["candidate_bias"]))
        state = (1 - update) * candidate + update * state
        states.append(state)
    return states


def both_ways(layer, inputs):
    forward = gru(layer["forward_1"], inputs)
    backward = gru(layer["backward_1"], inputs[::-1])[::-1]
    return [np.concatenate(pair) for pair in zip(forward, backward, strict=True)]


def attended(pooling, states, counted):
    """Equations 5 to 7, or 8 to 10: the sum of those states that count; 0 where none does."""
    total, mass = np.zeros(6), 0.0
    for state, counts in zip(states, counted, strict=True):
        if counts:
            inner = np.tanh(pooling["pooling_hidden"] @ state + pooling["pooling_bias"])
            weight = np.exp(inner @ pooling["pooling_context"])
            total, mass = total + weight * state, mass + weight
    return total / mass if mass else total


def oracle(params, document, sentence_lengths, length):
    """The logits of one document, float64."""
    vectors = []
    for sentence, words in zip(document[:length], sentence_lengths, strict=False):
        states = both_ways(params["words"], [params["token"]["embedding"][word] for word in sentence[:words]])
        vectors.append(attended(params["word_pooling"], states, [True] * len(states)))
    states = both_ways(params["sentences"], vectors)
    vector = attended(params["sentence_pooling"], states, sentence_lengths[:length] > 0)
    return vector @ params["head"]["kernel"] + params["head"]["bias"]


def test_it_is_the_equations_of_the_paper():
    model = built(word_pooling="by_query:hidden=5", sentence_pooling="by_query:hidden=2")
    variables = random_variables(model, DOCUMENT)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    rows = zip(DOCUMENT, SENTENCE_LENGTHS, LENGTHS, strict=True)
    expected = np.stack([oracle(params, *row) for row in rows])
    np.testing.assert_allclose(apply(model, variables, DOCUMENT, **REAL), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["by_query:hidden=5", "mean", "max_pooling", "self_attentive:hops=2"])
def test_padding_touches_nothing_and_empty_documents_are_finite(pooling):
    model = built(word_pooling=pooling, sentence_pooling=pooling)
    variables = random_variables(model, DOCUMENT)
    # What stands behind the last sentence is padding, even where it has a length.
    loud = {**REAL, "sentence_lengths": np.where(np.arange(4) < LENGTHS[:, None], SENTENCE_LENGTHS, 6)}
    words = (np.arange(6) < SENTENCE_LENGTHS[..., None]) & (np.arange(4) < LENGTHS[:, None])[..., None]

    def loss(params, document, real):
        logits = model.apply({"params": params}, document, **real)
        return jnp.sum(jnp.sin(logits)), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, found), gradients = run(variables["params"], np.where(words, DOCUMENT, 0), REAL)
    (_, others), other_gradients = run(variables["params"], np.where(words, DOCUMENT, 10), loud)
    np.testing.assert_array_equal(found, others)
    np.testing.assert_allclose(found[4], variables["params"]["head"]["bias"], rtol=1e-6)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    assert all(bool(jnp.abs(leaf).max() > 0) for leaf in jax.tree.leaves(gradients))


def test_without_lengths_all_is_real():
    model = built()
    variables = random_variables(model, DOCUMENT)
    every = {"sentence_lengths": np.full((5, 4), 6), "lengths": np.full(5, 4)}
    np.testing.assert_array_equal(apply(model, variables, DOCUMENT), apply(model, variables, DOCUMENT, **every))


def test_the_weights_of_words_and_sentences_are_looked_at():
    model = built()
    variables = random_variables(model, DOCUMENT)
    assert variables.keys() == {"params"}
    _, sown = model.apply(variables, DOCUMENT, **REAL, mutable=[LOOKED_AT])
    (of_words,), (of_sentences,) = (sown[LOOKED_AT][f"{level}_pooling"]["weights"] for level in ("word", "sentence"))
    assert (of_words.shape, of_sentences.shape) == ((20, 1, 1, 6), (5, 1, 1, 4))
    np.testing.assert_allclose(of_words.sum(-1).reshape(5, 4), SENTENCE_LENGTHS > 0, atol=1e-6)
    np.testing.assert_array_equal(of_sentences[:, 0, 0][SENTENCE_LENGTHS == 0], 0)


@pytest.mark.parametrize(
    ("options", "document", "message"),
    [
        ({"word_pooling": "maen"}, DOCUMENT, r"^there is no pooling 'maen'"),
        ({}, DOCUMENT[0], r"^model han reads documents of sentences \[B, S, W\], not \(4, 6\)\."),
        ({"words": {"cell": "gur"}}, DOCUMENT, r"^there is no recurrent cell 'gur'"),
    ],
)
def test_what_cannot_be_done_is_refused(options, document, message):
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: built(**options).init(jax.random.key(0), document))
