"""Finding the part of a passage that answers a question, scored as SQuAD 1.1 does: Rajpurkar et al. 2016, section 6."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.models import arrays_of
from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, register, row_weights

OWNER = "task span_extraction"
SCORES = ("exact_match", "f1", "span_f1")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)


@register
def span_extraction(*, metric: str = "loss", longest: int = 30) -> Task:
    """Cross-entropy of the "start" and of the "end" [B] of an answer, added, in nats; and what the answers score.

    A model gives the logits of both at each token, [B, T, 2]. The answer is the most probable span of at most `longest`
    tokens that ends where it begins or later. Its scores, each a share:
    exact_match and f1: SQuAD's, the mean over the questions; a question without an answer counts 1 where none is given.
    span_f1: of all spans that were given, and of all that there are, those that are the same: 2 P R / (P + R), as
    Coope et al. 2020 score slots.

    Args:
      metric: what decides: "loss", "accuracy" (both ends are the likeliest), or one of the scores.
      longest: the most tokens of an answer.

    Raises:
      Refused: there is no such metric, or `longest` is smaller than 1.
    """
    check_metric(metric, ("loss", "accuracy", *SCORES), owner=OWNER)
    if longest < 1:
        raise Refused(f"{OWNER} has longest={longest}: an answer has at least 1 token.")

    def items(logits: Float[Array, "B T 2"], batch: Batch) -> dict[str, Items]:
        # An answer that was cut off is at no token.
        weights = row_weights(batch, len(logits)) * (batch["start"] >= 0)
        ends = [(logits[..., end], jnp.maximum(batch[name], 0)) for end, name in enumerate(("start", "end"))]
        losses = [optax.softmax_cross_entropy_with_integer_labels(*one) for one in ends]
        right = [are_likeliest(*one) for one in ends]
        return {"loss": Items(losses[0] + losses[1], weights), "accuracy": Items(right[0] * right[1], weights)}

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        logits = model.apply(variables, **arrays_of(model, batch), deterministic=True)
        start, end = best_span(*jnp.moveaxis(jnp.asarray(logits), -1, 0), longest=longest)
        return {"start": start, "end": end}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        source: Any = dataset.splits[split]
        if not hasattr(source, "span"):
            raise Refused(f"{OWNER} scores parts of texts, and this data set has none: use data spans.")
        rows = enumerate(zip(collected["start"].tolist(), collected["end"].tolist(), strict=True))
        found = [source.span(row, *both) for row, both in rows]
        return scores_of_spans(found, source.questions)

    return Task(metric=metric, reads=("start", "end"), items=items, scores=SCORES, collect=collect, score=score)


def best_span(
    start: Float[Array, "B T"], end: Float[Array, "B T"], *, longest: int
) -> tuple[Int[Array, " B"], Int[Array, " B"]]:
    """Returns the i and j of the highest start_i + end_j with i <= j < i + longest, the first j of equals.

    Args:
      start, end: [B, T], logits or logarithms of probabilities.
      longest: the most tokens of a span.
    """
    tokens = start.shape[1]
    if longest >= tokens:
        highest = jax.lax.cummax(start, axis=1)
    else:
        highest = jax.lax.reduce_window(start, -jnp.inf, jax.lax.max, (1, longest), (1, 1), ((0, 0), (longest - 1, 0)))
    last = (highest + end).argmax(1)
    places = jnp.arange(tokens)
    within = (places <= last[:, None]) & (places > last[:, None] - longest)
    return jnp.where(within, start, -jnp.inf).argmax(1), last


def scores_of_spans(found: Sequence[tuple[int, int] | None], questions: Sequence[Any]) -> dict[str, float]:
    """Returns the three scores of spans of characters, None where none was given, for questions as data has them."""
    exact, f1, given, there, right = [], [], 0, 0, 0
    for span, question in zip(found, questions, strict=True):
        answers = [question.passage[start:end] for start, end in question.answers] or [""]
        text = "" if span is None else question.passage[slice(*span)]
        exact.append(max(exact_match(text, answer) for answer in answers))
        f1.append(max(token_f1(text, answer) for answer in answers))
        given, there = given + (span is not None), there + bool(question.answers)
        right += span in question.answers
    return {
        "exact_match": float(np.mean(exact)),
        "f1": float(np.mean(f1)),
        "span_f1": 2 * right / (given + there) if given + there else 1.0,
    }


def normalised(text: str) -> str:
    """Returns a text as SQuAD compares it: in lower case, without punctuation, articles and further blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())


def exact_match(text: str, answer: str) -> float:
    """Returns 1 where a text is the answer, as SQuAD compares them, else 0."""
    return float(normalised(text) == normalised(answer))


def token_f1(text: str, answer: str) -> float:
    """Returns the F1 of the words of a text and of an answer, as SQuAD does; where one has none, 1 if both have."""
    ours, theirs = normalised(text).split(), normalised(answer).split()
    if not ours or not theirs:
        return float(ours == theirs)
    same = (Counter(ours) & Counter(theirs)).total()
    return 2 * same / (len(ours) + len(theirs))
