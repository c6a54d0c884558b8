"""Tags of words: what counts is each real word, and spans of names as CoNLL counts them."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.base.errors import Refused
from attention_jax.tasks.tagging import scores_of_names

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 5)).astype(np.float32)
BATCH = {
    "tags": RNG.integers(5, size=(3, 4)).astype(np.int32),
    "lengths": np.array([4, 2, 0], np.int32),
    "valid": np.array([True, True, False]),
}


def test_loss_and_accuracy_are_of_real_words_alone():
    losses, right = [], []
    for row, length in enumerate(BATCH["lengths"]):
        for word in range(length):
            logits, tag = LOGITS[row, word].astype(np.float64), BATCH["tags"][row, word]
            losses.append(np.log(np.exp(logits).sum()) - logits[tag])
            right.append(logits.argmax() == tag)
    loud = LOGITS.copy()
    loud[1, 2:] = 1e9
    measured = tasks.build("tagging").measure(jnp.array(loud), {key: jnp.array(of) for key, of in BATCH.items()})
    assert float(measured["loss"].mean) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(measured["accuracy"].mean) == pytest.approx(np.mean(right))
    assert float(measured["loss"].weight) == 6


def test_names_are_spans_with_their_kind_and_begin_with_b_alone():
    there = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "O", "O"]]
    found = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "I-ORG", "O", "O"]]
    # Of three names one is found; of two that were given one is right: "I-ORG" alone is no span.
    assert scores_of_names(found, there) == pytest.approx({"f1": 2 / 5, "precision": 1 / 2, "recall": 1 / 3})
    assert scores_of_names([["O"]], [["O"]]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(Refused, match="'NOUN' is no tag of IOB2"):
        scores_of_names([["NOUN"]], [["NOUN"]])
    with pytest.raises(Refused, match="no metric 'f1'"):
        tasks.build("tagging", metric="f1")
    assert tasks.build("tagging", metric="f1", names=True).scores == ("f1", "precision", "recall")


def test_the_neighbours_of_words_in_both_directions():
    tokens = np.array([[3, 4, 2, 9], [5, 9, 9, 9]], np.int32)  # loud padding
    batch = {"tokens": jnp.array(tokens), "lengths": jnp.array([3, 1])}
    logits = RNG.normal(size=(2, 4, 2, 10)).astype(np.float32)
    neighbours = {(0, 0): (4, 0), (0, 1): (2, 3), (0, 2): (0, 4), (1, 0): (0, 0)}
    losses = [
        np.log(np.exp(logits[place][side].astype(np.float64)).sum()) - logits[place][side][word]
        for place, words in neighbours.items()
        for side, word in enumerate(words)
    ]
    measured = tasks.build("bidirectional_lm").measure(jnp.array(logits), batch)
    assert float(measured["loss"].mean) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(measured["loss"].weight) == len(losses)
