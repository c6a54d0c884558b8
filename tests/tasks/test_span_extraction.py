"""Span extraction: SQuAD's scores on hand-made cases, the best span against a loop, the loss where answers are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.base.errors import Refused
from attention_jax.data.dataset import ArraySource, Dataset
from attention_jax.data.span_files import Question
from attention_jax.tasks.span_extraction import best_span, exact_match, normalised, scores_of_spans, token_f1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Cat,  sat!", "cat sat"),
        ("An apple a day", "apple day"),
        ("theatre another", "theatre another"),
        ("U.S.-based (the) 6½", "usbased 6½"),
        ("well-known “word”", "wellknown “word”"),
        ("the", ""),
        ("", ""),
    ],
)
def test_texts_are_compared_in_lower_case_without_punctuation_and_articles(text, words):
    assert normalised(text) == words


@pytest.mark.parametrize(
    ("text", "answer", "exact", "f1"),
    [
        ("the Denver Broncos.", "Denver Broncos", 1, 1),
        ("Denver Broncos beat", "Denver Broncos", 0, 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("Broncos Denver", "Denver Broncos", 0, 1),
        # A word counts as often as both have it: two of three, of either.
        ("x x y", "x y y", 0, 2 / 3),
        ("cat", "dog", 0, 0),
        ("", "dog", 0, 0),
        ("the", "", 1, 1),
    ],
)
def test_exact_match_and_f1_are_squads(text, answer, exact, f1):
    assert exact_match(text, answer) == exact
    assert token_f1(text, answer) == pytest.approx(f1)


PASSAGE = "In 1956 the big club moved"
ASKED = [
    Question(PASSAGE, "When?", ((3, 7), (0, 7)), "one"),
    Question(PASSAGE, "Who?", ((8, 20),), "two"),
    Question(PASSAGE, "Why?", (), "three"),
    Question(PASSAGE, "Where?", (), "four"),
]


def test_the_best_of_several_answers_counts_and_none_is_right_where_there_is_none():
    found = scores_of_spans([(0, 7), (12, 20), None, (3, 7)], ASKED)
    # "In 1956" is an answer; "big club" is "the big club" to SQuAD, but not the same span.
    assert found["exact_match"] == found["f1"] == 3 / 4
    # Three spans given, two there, one the same.
    assert found["span_f1"] == pytest.approx(2 * 1 / (3 + 2))
    nothing = scores_of_spans([None] * 4, ASKED)
    assert nothing == {"exact_match": 0.5, "f1": 0.5, "span_f1": 0.0}
    partly = scores_of_spans([(0, 7), (16, 26)], ASKED[:2])
    assert partly["f1"] == pytest.approx((1 + 0.5) / 2)
    assert scores_of_spans([None], ASKED[2:3])["span_f1"] == 1.0


@pytest.mark.parametrize("longest", [1, 2, 3, 6, 9])
def test_the_best_span_ends_where_it_begins_or_later_and_is_not_too_long(longest):
    start, end = (np.random.default_rng(seed).normal(size=(20, 6)).astype(np.float32) for seed in (0, 1))
    start[:, 4:] = end[:, 4:] = np.finfo(np.float32).min / 4
    found = jax.jit(best_span, static_argnames="longest")(start, end, longest=longest)
    for row in range(20):
        spans = [(i, j) for i in range(6) for j in range(i, min(6, i + longest))]
        best = max(spans, key=lambda span: start[row, span[0]] + end[row, span[1]])
        assert (int(found[0][row]), int(found[1][row])) == best


def test_answers_that_were_cut_off_and_rows_that_fill_up_count_nothing():
    task = tasks.build("span_extraction")
    logits = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    batch = {"start": jnp.array([1, -1, 0]), "end": jnp.array([3, -1, 0]), "valid": jnp.array([True, True, False])}
    found = task.items(jnp.asarray(logits), batch)
    assert found["loss"].weights.tolist() == [1, 0, 0]
    own = logits[0] - np.log(np.exp(logits[0]).sum(0))
    assert float(found["loss"].values[0]) == pytest.approx(-own[1, 0] - own[3, 1], rel=1e-5)
    right = float(logits[0, :, 0].argmax() == 1 and logits[0, :, 1].argmax() == 3)
    assert float(found["accuracy"].values[0]) == right


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(Refused, match=r"^task span_extraction has longest=0: an answer has at least 1 token\.$"):
        tasks.build("span_extraction", longest=0)
    with pytest.raises(Refused, match=r"^task span_extraction has no metric 'em'\."):
        tasks.build("span_extraction", metric="em")
    dataset = Dataset({"test": ArraySource({"start": np.zeros(1)})}, {})
    with pytest.raises(Refused, match=r"this data set has none: use data spans\.$"):
        tasks.build("span_extraction").score({"start": np.zeros(1), "end": np.zeros(1)}, dataset, "test")
