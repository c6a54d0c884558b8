"""Which tokens a sampling keeps, against the definitions in float64, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.decoding import GREEDY, Only, Sampling
from attention_jax.decoding.constraints import AtLeast

LOGITS = np.random.default_rng(5).normal(size=(40, 11)).astype("f4") * 2
LOGITS[3, 4:] = -np.inf
LOGITS[4] = LOGITS[4].round()


def expected(row, sampling):
    """Returns the distribution [V] after temperature, top-k, top-p and min-p, each renormalised, ties kept."""
    logits = row.astype(np.float64) / sampling.temperature
    probable = np.exp(logits - logits.max())
    probable /= probable.sum()
    if sampling.top_k is not None:
        threshold = np.sort(probable)[::-1][min(sampling.top_k, probable.size) - 1]
        probable = np.where(probable >= threshold, probable, 0) / probable[probable >= threshold].sum()
    if sampling.top_p < 1:
        total, threshold = 0.0, 0.0
        for value in np.sort(probable)[::-1]:
            if total < sampling.top_p:
                total, threshold = total + value, value
        probable = np.where(probable >= threshold, probable, 0) / probable[probable >= threshold].sum()
    kept = probable >= sampling.min_p * probable.max()
    return np.where(kept, probable, 0) / probable[kept].sum()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"top_k": 3},
        {"top_k": 100},
        {"top_p": 0.6},
        {"top_p": 1e-6},
        {"min_p": 0.2},
        {"min_p": 1.0},
        {"temperature": 1.7, "top_k": 6, "top_p": 0.8, "min_p": 0.15},
        {"temperature": 0.5, "top_p": 0.95, "min_p": 0.05},
    ],
)
def test_what_is_kept_is_what_the_definitions_say(options):
    sampling = Sampling(**options)
    kept = np.asarray(jax.nn.softmax(jax.jit(sampling.kept)(LOGITS)))
    for row, distribution in zip(LOGITS, kept, strict=True):
        np.testing.assert_allclose(distribution, expected(row, sampling), atol=1e-6)


def test_the_filters_are_applied_one_after_the_other():
    """Min-p first, or top-p over all tokens, would keep other tokens."""
    logits = jnp.log(jnp.array([[0.4, 0.24, 0.18, 0.1, 0.08]]))
    # Of the first three tokens, 0.82 in all, the first two are 0.78.
    assert np.isfinite(Sampling(top_k=3, top_p=0.75).kept(logits)).tolist() == [[True, True, False, False, False]]
    assert np.isfinite(Sampling(top_p=0.75).kept(logits)).tolist() == [[True, True, True, False, False]]
    # A temperature of 2 brings 0.18 / 0.4 to its root, 0.67.
    assert np.isfinite(Sampling(min_p=0.55).kept(logits)).sum() == 2
    assert np.isfinite(Sampling(min_p=0.55, temperature=2.0).kept(logits)).sum() == 3


def test_no_vocabulary_is_sorted():
    """A sort of 50257 logits takes 24 ms for each row and step on a CPU."""
    text = jax.jit(Sampling(top_k=50, top_p=0.9, min_p=0.1).kept).lower(jnp.zeros((2, 50257))).compile().as_text()
    assert " sort(" not in text
    assert "TopK" in text


def test_the_penalty_makes_positive_and_negative_logits_less_probable():
    logits, seen = jnp.array([[2.0, -2.0, 0.0, -jnp.inf, 2.0]]), jnp.array([[True, True, True, True, False]])
    assert Sampling(repetition_penalty=2.0).penalised(logits, seen).tolist() == [[1.0, -4.0, 0.0, -jnp.inf, 2.0]]


def test_a_temperature_of_zero_takes_the_first_of_the_most_probable():
    logits = jnp.array([[1.0, 3.0, 3.0], [-jnp.inf] * 3, [4.0, jnp.nan, 5.0]])
    token = GREEDY.choose(logits, rng=None, rows=jnp.arange(3), step=jnp.int32(0))
    assert token.tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1: give 0 .the most probable token. or more"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0: give 1 or more, or None for all tokens"),
        ({"top_p": 0.0}, "top_p=0.0: give more than 0, and 1 at most"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"min_p": -0.1}, "min_p=-0.1: give 0 to 1"),
        ({"min_p": 1.5}, "min_p=1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0: give more than 0; 1 is no penalty"),
    ],
)
def test_options_out_of_their_bounds_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        Sampling(**options)


def test_constraints_that_cannot_be_are_refused():
    with pytest.raises(Refused, match=r"Only\(tokens=\(\)\): give one token at least"):
        Only(())
    with pytest.raises(Refused, match=r"Only\(tokens=\(1, -2\)\)"):
        Only((1, -2))
    with pytest.raises(Refused, match="Only allows token 11, but the logits are of 11 tokens"):
        Only((1, 11))(jnp.zeros((40, 3), int), jnp.zeros(40, int), jnp.asarray(LOGITS))
    with pytest.raises(Refused, match=r"AtLeast\(length=-1\)"):
        AtLeast(-1, end=(0,))
