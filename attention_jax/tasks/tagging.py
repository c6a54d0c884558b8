"""Choosing a tag of each word: parts of speech, scored by word, and names, scored by span."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.models import arrays_of
from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, register, row_weights

OWNER = "task tagging"
SCORES = ("f1", "precision", "recall")


@register
def tagging(*, metric: str = "accuracy", names: bool = False) -> Task:
    """Cross-entropy of the "tags" [B, T] of the first "lengths" [B] words of each sentence, in nats a word.

    Scores of names: "f1", "precision" and "recall" of spans with their kind, as CoNLL counts them, of tags that are
    strictly IOB2 ("B-PER", "I-PER", "O"): a span begins with B alone (seqeval, mode "strict").

    Args:
      metric: what decides: "accuracy", the share of words whose likeliest tag is right, "loss", or with `names` a
        score.
      names: whether tags are IOB2, and spans are scored.

    Raises:
      Refused: there is no such metric.
    """
    check_metric(metric, ("accuracy", "loss", *(SCORES if names else ())), owner=OWNER)

    def items(logits: Float[Array, "B T C"], batch: Batch) -> dict[str, Items]:
        tags = batch["tags"]
        real = jnp.arange(tags.shape[1]) < batch["lengths"][:, None]
        weights = real * row_weights(batch, len(tags))[:, None]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tags)
        return {"loss": Items(losses, weights), "accuracy": Items(are_likeliest(logits, tags), weights)}

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        logits = model.apply(variables, **arrays_of(model, batch), deterministic=True)
        return {"tag": jnp.asarray(logits).argmax(-1)}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        source: Any = dataset.splits[split]
        classes = np.array(dataset.facts["classes"], object)
        there = [list(sentence.tags) for sentence in source.sentences]
        found = [classes[row[: len(tags)]].tolist() for row, tags in zip(collected["tag"], there, strict=True)]
        return scores_of_names(found, there)

    reads = ("tags", "lengths")
    if not names:
        return Task(metric=metric, reads=reads, items=items)
    return Task(metric=metric, reads=reads, items=items, scores=SCORES, collect=collect, score=score)


def scores_of_names(found: list[list[str]], there: list[list[str]]) -> dict[str, float]:
    """Returns the three scores of the tags that were found of sentences, and of those that are there.

    Raises:
      Refused: a tag is no IOB2.
    """
    # Imported where it is used: it takes a second, and few runs score spans.
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    for tag in {tag for tags in there for tag in tags}:
        if tag != "O" and not tag.startswith(("B-", "I-")):
            raise Refused(f"{OWNER} has names=True, and {tag!r} is no tag of IOB2 (O, B-..., I-...): use names=False.")
    if not any(tag != "O" for tags in (*found, *there) for tag in tags):
        return dict.fromkeys(SCORES, 0.0)
    precision, recall, f1, _ = precision_recall_fscore_support(
        there, found, average="micro", scheme=IOB2, zero_division=0
    )
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}
