"""The majority class, and logistic regression on TF-IDF or on pixels (scikit-learn), for labelled texts and images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from attention_jax import data as data_sets
from attention_jax.data.labelled_texts import Texts

# Inverse strengths of the penalty, of which validation chooses.
_STRENGTHS = {"texts": (1.0, 10.0, 100.0), "images": (0.01, 0.1, 1.0)}
_ITERATIONS = 200
# Beyond so many characters of training texts, their n-grams take longer than what they add: 27 s of 5.5 million.
_MOST_CHARACTERS = 1_000_000
_MOST_IMAGES = 5_000


class _Split(NamedTuple):
    features: Any
    label: np.ndarray


def linear_baselines(data: Mapping[str, Any], *, metric: str) -> list[dict[str, Any]]:
    """Returns `name`, `short` and `score` of the baselines for a section `data`, on the split that scores are of.

    The strength of the penalty is the one with the best value on the validation split.

    Args:
      data: its name and options, of labelled texts or images.
      metric: "accuracy", or "loss": the mean of -log p of the label, in nats.
    """
    dataset = data_sets.build(data["name"], **{key: value for key, value in data.items() if key != "name"})
    kind = "texts" if isinstance(dataset.splits["train"], Texts) else "images"
    features, splits = (_texts if kind == "texts" else _images)(dataset)
    train, scored = splits["train"], splits.get("test", splits["validation"])
    counts = np.bincount(train.label, minlength=1 + max(split.label.max() for split in splits.values()))
    # With one of each class more, so that a class that training has not costs a finite loss.
    majority = np.log((counts + 1) / (counts + 1).sum())
    return [
        {
            "name": "majority class",
            "short": "the majority class",
            "score": _score(np.tile(majority, (len(scored.label), 1)), scored.label, metric),
        },
        {
            "name": f"logistic regression on {features}",
            "short": "logistic regression",
            "score": _logistic_regression(splits, scored, strengths=_STRENGTHS[kind], metric=metric),
        },
    ]


def _logistic_regression(
    splits: Mapping[str, _Split], scored: _Split, *, strengths: tuple[float, ...], metric: str
) -> float:
    from sklearn.linear_model import LogisticRegression

    train, validation = splits["train"], splits["validation"]
    fitted = [
        LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(train.features, train.label) for strength in strengths
    ]
    sign = -1 if metric == "loss" else 1
    best = max(fitted, key=lambda model: sign * _of(model, validation, metric))
    return _of(best, scored, metric)


def _of(model: Any, split: _Split, metric: str) -> float:
    # Of the classes that training has, which are all of them.
    return _score(model.predict_log_proba(split.features), split.label, metric)


def _score(log_probabilities: np.ndarray, label: np.ndarray, metric: str) -> float:
    if metric == "loss":
        return float(-log_probabilities[np.arange(len(label)), label].mean())
    return float((log_probabilities.argmax(axis=1) == label).mean())


def _texts(dataset: data_sets.Dataset) -> tuple[str, dict[str, _Split]]:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    sources: dict[str, Any] = dataset.splits
    texts = {split: source.written for split, source in sources.items()}
    vectorizers = [TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))]
    features = "TF-IDF of words and pairs of them"
    if sum(map(len, texts["train"])) <= _MOST_CHARACTERS:
        vectorizers.append(TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4)))
        features = "TF-IDF of words, pairs of them, and 2 to 4 characters"
    fitted = [vectorizer.fit(texts["train"]) for vectorizer in vectorizers]
    made = {split: hstack([one.transform(part) for one in fitted]).tocsr() for split, part in texts.items()}
    return features, {split: _Split(made[split], source.label) for split, source in sources.items()}


def _images(dataset: data_sets.Dataset) -> tuple[str, dict[str, _Split]]:
    splits = {}
    for split, source in dataset.splits.items():
        few = np.arange(len(source))
        if split != "test" and len(few) > _MOST_IMAGES:
            few = np.sort(np.random.default_rng(0).permutation(few)[:_MOST_IMAGES])
        batch = source.gather(few)
        splits[split] = _Split(batch["image"].reshape(len(few), -1), batch["label"])
    limited = len(dataset.splits["train"]) > _MOST_IMAGES
    return f"the pixels{f' of {_MOST_IMAGES} training images' if limited else ''}", splits
