"""Turning a sequence into another that is right or wrong as a whole, such as a command into its actions."""

from dataclasses import replace

import numpy as np

from attention_jax.data import Dataset
from attention_jax.tasks.task import Task, check_metric, register
from attention_jax.tasks.token_prediction import token_prediction
from attention_jax.tasks.writing import references_of, texts_of, writes

OWNER = "task transduction"


@register
def transduction(*, metric: str = "loss", label_smoothing: float = 0.0, beams: int = 1) -> Task:
    """Cross-entropy of the targets as of `token_prediction`, and how many of the targets that it writes are exact.

    Args:
      metric: what decides: "loss", "accuracy" of the next token, or "exact_match", which needs decoding at each
        evaluation.
      label_smoothing: see `token_prediction`.
      beams: hypotheses that are kept; 1 is greedy decoding.

    Raises:
      Refused: there is no such metric, or an option has no such value.
    """
    check_metric(metric, ("loss", "accuracy", "exact_match"), owner=OWNER)

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        written = texts_of(collected, dataset, owner=OWNER)
        references = references_of(dataset, split, owner=OWNER)
        right = [ours.split() == theirs.split() for ours, theirs in zip(written, references, strict=True)]
        return {"exact_match": float(np.mean(right))}

    return replace(
        token_prediction(label_smoothing=label_smoothing),
        metric=metric,
        scores=("exact_match",),
        collect=writes(beams=beams, alpha=0.0, owner=OWNER),
        score=score,
    )
