"""A number for each example: how near two texts are, on a scale."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import stats

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.models import arrays_of
from attention_jax.tasks.task import Batch, Items, Task, check_metric, register, row_weights

OWNER = "task regression"


@register
def regression(*, metric: str = "loss") -> Task:
    """The squared error of "score" [B], and the correlations of Pearson and Spearman over a split, by SciPy.

    Args:
      metric: what decides: "loss", "pearson" or "spearman".

    Raises:
      Refused: there is no such metric, or the model gives more than one number.
    """
    check_metric(metric, ("loss", "pearson", "spearman"), owner=OWNER)

    def items(output: Array, batch: Batch) -> dict[str, Items]:
        score = batch["score"]
        return {"loss": Items((_one(output) - score) ** 2, row_weights(batch, len(score)))}

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        output = model.apply(variables, **arrays_of(model, batch), deterministic=True)
        return {"predicted": _one(output), "score": batch["score"]}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        return correlations(collected["predicted"], collected["score"])

    return Task(
        metric=metric,
        reads=("score",),
        items=items,
        scores=("pearson", "spearman"),
        collect=collect,
        score=score,
    )


def correlations(predicted: Float[np.ndarray, " N"], score: Float[np.ndarray, " N"]) -> dict[str, float]:
    """Returns the correlations of Pearson and of Spearman; 0 where one of the two is the same everywhere."""
    if min(np.ptp(predicted), np.ptp(score)) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(stats.pearsonr(predicted, score).statistic),
        "spearman": float(stats.spearmanr(predicted, score).statistic),
    }


def _one(output: Any) -> Float[Array, " B"]:
    if output.ndim != 1 and output.shape[1:] != (1,):
        raise Refused(
            f"{OWNER} takes one number of each example, and the model gives {output.shape[1:]}: set "
            "model.num_classes=1."
        )
    return output.reshape(len(output))
