"""Telling the words around a word from drawn ones: Mikolov et al. 2013, equation 4."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import stats

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.tasks.task import Batch, Items, Task, check_metric, register, row_weights

OWNER = "task skip_gram"


@register
def skip_gram(*, metric: str = "loss", negatives: int = 5) -> Task:
    """The loss of each pair of a center and a context, -log s(u_o v) - k E[log s(-u_n v)], in nats.

    The mean is over the words that were drawn beside the center, however many there are. Scores: "spearman", the rank
    correlation of the cosines of vectors with the ratings of the pairs of words that a split carries, and
    "rated_pairs", how many those are; both 0 where it has none.

    Args:
      metric: what decides: "loss" or "spearman".
      negatives: k, what a pair's negatives weigh.

    Raises:
      Refused: there is no such metric, or `negatives` is smaller than 1.
    """
    check_metric(metric, ("loss", "spearman"), owner=OWNER)
    if negatives < 1:
        raise Refused(f"{OWNER} has negatives={negatives}: give at least 1.")

    def items(logits: Float[Array, "B N"], batch: Batch) -> dict[str, Items]:
        weights = batch["weights"] * row_weights(batch, len(logits))[:, None]
        contexts = weights.shape[1]
        drawn = jax.nn.log_sigmoid(-logits[:, contexts:]).mean(-1, keepdims=True)
        return {"loss": Items(-jax.nn.log_sigmoid(logits[:, :contexts]) - negatives * drawn, weights)}

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        cosine: Any = model.apply(variables, batch["pair"], method="similarity")
        return {"cosine": cosine}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        source: Any = dataset.splits[split]
        ratings, cosine = source.ratings, collected["cosine"][: len(source.ratings)]
        # A correlation with what is the same everywhere is not defined.
        known = len(ratings) > 1 and np.ptp(ratings) > 0 and np.ptp(cosine) > 0
        spearman = float(stats.spearmanr(cosine, ratings).statistic) if known else 0.0
        return {"spearman": spearman, "rated_pairs": float(len(ratings))}

    return Task(
        metric=metric,
        reads=("weights", "pair"),
        items=items,
        scores=("spearman", "rated_pairs"),
        collect=collect,
        score=score,
    )
