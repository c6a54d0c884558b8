"""A question as one vector: beside every token, or as the query of a pooling that points. Padding: test_bidaf.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

W = 3
FACTS = {"vocabulary_size": 11, "passage_length": 7, "character_vocabulary_size": 0}
RNG = np.random.default_rng(0)
BATCH = {
    "passage": RNG.integers(11, size=(3, 7)).astype(np.int32),
    "question": RNG.integers(11, size=(3, 4)).astype(np.int32),
    "passage_lengths": np.array([7, 1, 4], np.int32),
    "question_lengths": np.array([2, 4, 1], np.int32),
}


def built(**options):
    sizes = {"width": 4, "highways": 0, "encoder": {"width": W, "bidirectional": True}, "hidden": 5}
    return models.build("external_query", facts=FACTS, **{**sizes, **options})


def run(query):
    """Returns the logits, the parameters, the encodings of the passage and q."""
    model = built(query=query)
    variables = random_variables(model, **BATCH)
    logits, caught = model.apply(variables, **BATCH, capture_intermediates=True, mutable=["intermediates"])
    passage, question = caught["intermediates"]["encoder"]["__call__"]
    return logits, jax.tree.map(np.asarray, variables["params"]), np.asarray(passage.outputs), question.last(2)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def test_the_weights_of_the_pooling_point_and_its_mean_asks_for_the_end():
    logits, params, hidden, asked = run("by_query")
    for row, length in enumerate(BATCH["passage_lengths"]):
        tokens, q = hidden[row, :length], np.asarray(asked[row])
        start = softmax(np.array([q @ params["start"]["pooling_weight"] @ token for token in tokens]))
        further = np.concatenate([q, start @ tokens])
        end = softmax(np.array([further @ params["end"]["pooling_weight"] @ token for token in tokens]))
        np.testing.assert_allclose(np.exp(logits[row, :length]), np.stack([start, end], 1), rtol=1e-4)
        assert not np.exp(logits[row, length:]).any()


def test_beside_each_token_it_goes_through_a_layer():
    logits, params, hidden, asked = run("concatenated")
    for row, length in enumerate(BATCH["passage_lengths"]):
        for token in range(length):
            joined = np.concatenate([hidden[row, token], asked[row]])
            inner = np.maximum(joined @ params["hidden"]["kernel"] + params["hidden"]["bias"], 0)
            expected = inner @ params["ends"]["kernel"] + params["ends"]["bias"]
            np.testing.assert_allclose(logits[row, token], expected, rtol=1e-4, atol=1e-5)


def test_the_question_is_its_last_states():
    model = built()
    variables = random_variables(model, **BATCH)
    longer = {**BATCH, "question": np.pad(BATCH["question"], ((0, 0), (0, 2)), constant_values=9)}
    np.testing.assert_allclose(apply(model, variables, **BATCH), apply(model, variables, **longer), atol=1e-6)


def test_weights_are_looked_at_where_that_is_asked_for():
    model = built()
    variables = random_variables(model, **BATCH)
    assert variables.keys() == {"params"}
    logits, sown = model.apply(variables, **BATCH, mutable=[LOOKED_AT])
    (weights,) = sown[LOOKED_AT]["weights"]
    assert weights.shape == (3, 2, 1, 7)
    np.testing.assert_allclose(weights[:, :, 0], jnp.exp(logits).swapaxes(1, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("mean", r"^mean takes no query: leave it out, or use pooling by_query\."),
        ("by_qeury", r"^there is no pooling 'by_qeury'\."),
    ],
)
def test_a_pooling_that_takes_no_query_is_refused(query, message):
    model = built(query=query)
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), **BATCH))
