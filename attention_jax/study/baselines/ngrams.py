"""Unigrams and bigrams of tokens, for text to predict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from attention_jax import data as data_sets
from attention_jax.data.characters import Windows


def ngram_baselines(data: Mapping[str, Any], *, metric: str) -> list[dict[str, Any]]:
    """Returns `name`, `short` and `score` of the baselines for a section `data`, on the split that scores are of.

    The unigram is the share of each token in the training text, with one of each more; the bigram is smoothed by it as
    Witten & Bell 1991 do: p(b | a) = (count(a b) + kinds(a) p(b)) / (count(a) + kinds(a)), kinds(a) the number of
    different tokens that follow a.

    Args:
      data: its name and options, of running text.
      metric: "loss", in nats per token, or "accuracy", the share of tokens that were the likeliest.
    """
    dataset = data_sets.build(data["name"], **{key: value for key, value in data.items() if key != "name"})
    tokens = dataset.facts["vocabulary_size"]
    before, after = _pairs(dataset.splits["train"])
    scored = _pairs(dataset.splits.get("test", dataset.splits["validation"]))
    counts = np.bincount(after, minlength=tokens) + 1.0
    unigram = counts / counts.sum()
    pairs = np.bincount(before.astype(np.int64) * tokens + after, minlength=tokens**2).reshape(tokens, tokens)
    kinds = (pairs > 0).sum(axis=1, keepdims=True)
    followed = pairs.sum(axis=1, keepdims=True)
    # What nothing follows in the training text has the unigram alone.
    bigram = np.where(followed > 0, (pairs + kinds * unigram) / np.maximum(followed + kinds, 1), unigram)
    return [
        {"name": "unigram", "short": "the unigram", "score": _score(np.tile(unigram, (tokens, 1)), scored, metric)},
        {"name": "bigram", "short": "the bigram", "score": _score(bigram, scored, metric)},
    ]


def _score(following: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], metric: str) -> float:
    before, after = pairs
    if metric == "loss":
        return float(-np.log(following[before, after]).mean())
    return float((following.argmax(axis=1)[before] == after).mean())


def _pairs(source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns each token that is followed by one that is predicted, and that one."""
    if isinstance(source, Windows):
        return source.ids[:-1], source.ids[1:]
    found = []
    for index in range(len(source)):
        batch = source.gather(np.array([index]))
        counted = batch["weights"] > 0
        found.append((batch["inputs"][counted], batch["targets"][counted]))
    before, after = zip(*found, strict=True)
    return np.concatenate(before), np.concatenate(after)
