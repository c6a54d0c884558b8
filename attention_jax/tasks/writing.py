"""What a model of sequences to sequences writes for each source of a batch, and the texts of it."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.decoding import advance_of, beam_search, unscanned
from attention_jax.tasks.slicing import Batch

WRITTEN = "written"


def writes(*, beams: int, alpha: float, owner: str) -> Callable[..., dict[str, Array]]:
    """Returns the `Task.collect` that writes the best target by beam search: tokens int32 [B, 1, M] as `WRITTEN`.

    Args:
      beams: how many hypotheses are kept.
      alpha: the exponent of the length penalty.
      owner: what messages call the task.

    Raises:
      Refused: there are fewer beams than 1.
    """
    if beams < 1:
        raise Refused(f"{owner} has beams={beams}: give at least 1, which is greedy decoding.")

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        if not hasattr(model, "advance"):
            raise Refused(
                f"{owner} scores what a model writes, and model {type(model).__name__} has no steps to write in: use "
                "model transformer."
            )
        model, variables = unscanned(model, variables)
        lengths = batch["source_lengths"]
        state = model.apply(variables, batch["source"], source_lengths=lengths, method="start")
        found = beam_search(
            advance_of(model, variables),
            state,
            jnp.full((len(lengths), 1), model.begin),
            jnp.ones(len(lengths), jnp.int32),
            beams=beams,
            alpha=alpha,
            max_new_tokens=model.target_length,
            end=(model.end,),
        )
        return {WRITTEN: found.tokens[:, 0]}

    return collect


def texts_of(collected: Mapping[str, np.ndarray], dataset: Dataset, *, owner: str) -> list[str]:
    """Returns the text that was written for each source of a split.

    Raises:
      Refused: the data set has no way from tokens to text.
    """
    if dataset.tokenizer is None:
        raise Refused(f"{owner} compares texts, and this data set has none: use one of pairs of texts.")
    return [dataset.tokenizer.detokenize(tokens) for tokens in collected[WRITTEN].tolist()]


def references_of(dataset: Dataset, split: str, *, owner: str) -> list[str]:
    """Returns the text that each source of a split should have been turned into.

    Raises:
      Refused: the data set has none.
    """
    texts = getattr(dataset.splits[split], "texts", None)
    if texts is None:
        raise Refused(f"{owner} compares texts, and this data set has none: use one of pairs of texts.")
    return list(texts.target)
