"""Pointing at places of a source, one after another: Vinyals, Fortunato & Jaitly 2015."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.decoding import advance_of, generate
from attention_jax.decoding.constraints import Distinct
from attention_jax.models import arrays_of
from attention_jax.tasks.slicing import Batch
from attention_jax.tasks.task import Task, check_metric, register
from attention_jax.tasks.token_prediction import token_prediction

OWNER = "task pointing"
SCORES = ("exact_match", "right_places")


@register
def pointing(*, metric: str = "loss", distinct: bool = False) -> Task:
    """Cross-entropy of the next place as of `token_prediction`, and what is pointed at greedily.

    exact_match is the share of targets that are right from the first place to the end; right_places the share of their
    places, the end left out, where the same is pointed at.

    Args:
      metric: what decides: "loss" or "accuracy" of the next place, both given those before it; or one of the scores.
      distinct: whether no place is pointed at twice.

    Raises:
      Refused: there is no such metric.
    """
    check_metric(metric, ("loss", "accuracy", *SCORES), owner=OWNER)

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        if not hasattr(model, "advance"):
            raise Refused(
                f"{OWNER} scores what a model points at, and model {type(model).__name__} has no steps: use model "
                "pointer_network."
            )
        rows, end = len(batch["targets"]), (model.end,)
        source = {name: array for name, array in arrays_of(model, batch).items() if name in ("source", "points")}
        found = generate(
            advance_of(model, variables),
            model.apply(variables, **source, source_lengths=batch["source_lengths"], method="start"),
            jnp.full((rows, 1), model.begin),
            jnp.ones(rows, jnp.int32),
            max_new_tokens=batch["targets"].shape[1],
            end=end,
            constrain=Distinct(but=end) if distinct else None,
            pad=model.end,
        )
        return {"pointed": found.tokens, "targets": batch["targets"], "weights": batch["weights"]}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        right = collected["pointed"] == collected["targets"]
        # Beyond a target's end both are the end, unless too much was pointed at.
        of_items = (collected["weights"] > 0) & (collected["targets"] != dataset.facts["end"])
        return {
            "exact_match": float(right.all(axis=1).mean()),
            "right_places": float(right[of_items].mean()) if of_items.any() else 1.0,
        }

    return replace(token_prediction(), metric=metric, scores=SCORES, collect=collect, score=score)
