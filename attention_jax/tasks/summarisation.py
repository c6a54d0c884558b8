"""Summing up a text in a few words, scored by ROUGE: Lin 2004, by Google's rouge-score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from rouge_score.rouge_scorer import RougeScorer

from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.decoding import advance_of, beam_search
from attention_jax.decoding.constraints import AtLeast, Never, Together
from attention_jax.models import arrays_of
from attention_jax.tasks.slicing import Batch
from attention_jax.tasks.task import Task, check_metric, register
from attention_jax.tasks.token_prediction import token_prediction
from attention_jax.tasks.writing import WRITTEN

OWNER = "task summarisation"
KINDS = ("rouge1", "rouge2", "rougeL")
SCORES = (*KINDS, "copied_words", "copied_words_right")


@register
def summarisation(
    *, metric: str = "loss", beams: int = 4, alpha: float = 0.6, shortest: int = 1, stemmer: bool = False
) -> Task:
    """Cross-entropy of the summary as of `token_prediction`, and the ROUGE of what beam search writes.

    rouge1, rouge2 and rougeL are F1 of words in lower case, the mean over the texts, in percent. copied_words is how
    many words were written that the vocabulary lacks, copied_words_right how many of them the text's summary has.
    The unknown word is never written.

    Args:
      metric: what decides: "loss" or "accuracy" of the next word, or one of the scores, which needs decoding at each
        evaluation.
      beams: hypotheses that are kept; 1 is greedy decoding.
      alpha: the exponent of the length penalty (Wu et al. 2016, equation 14).
      shortest: the fewest words of a summary.
      stemmer: whether ROUGE compares the stems of words (Porter 1980).

    Raises:
      Refused: there is no such metric, or an option has no such value.
    """
    check_metric(metric, ("loss", "accuracy", *SCORES), owner=OWNER)
    if beams < 1 or shortest < 0:
        raise Refused(f"{OWNER} has beams={beams} and shortest={shortest}: give at least 1 and 0.")

    def collect(model: nn.Module, variables: Mapping[str, Any], batch: Batch, key: PRNGKeyArray) -> dict[str, Array]:
        if not hasattr(model, "advance") or not hasattr(model, "unknown"):
            raise Refused(
                f"{OWNER} scores what a model writes, and model {type(model).__name__} has no steps to write in: use "
                "model pointer_generator."
            )
        rows = len(batch["source"])
        source = {name: one for name, one in arrays_of(model, batch).items() if name.startswith("source")}
        found = beam_search(
            advance_of(model, variables),
            model.apply(variables, **source, method="start"),
            jnp.full((rows, 1), model.begin),
            jnp.ones(rows, jnp.int32),
            beams=beams,
            alpha=alpha,
            max_new_tokens=model.target_length,
            end=(model.end,),
            constrain=Together((Never((model.unknown, model.begin)), AtLeast(shortest + 1, (model.end,)))),
        )
        return {WRITTEN: found.tokens[:, 0]}

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        source: Any = dataset.splits[split]
        if not hasattr(source, "words"):
            raise Refused(f"{OWNER} scores summaries, and this data set has none: use data summaries.")
        rows = [*enumerate(collected[WRITTEN])]
        written = [source.words(row, tokens) for row, tokens in rows]
        references, count, right = list(source.texts.target), 0, 0
        for (row, _), words in zip(rows, written, strict=True):
            copied = [word for word in words if word in source.oov[row]]
            count, right = count + len(copied), right + sum(word in source.summaries[row] for word in copied)
        found = rouge([" ".join(words) for words in written], references, stemmer=stemmer)
        return {**found, "copied_words": float(count), "copied_words_right": float(right)}

    return replace(token_prediction(), metric=metric, scores=SCORES, collect=collect, score=score)


def rouge(written: Sequence[str], references: Sequence[str], *, stemmer: bool = False) -> dict[str, float]:
    """Returns the mean F1 of ROUGE-1, -2 and -L of texts beside one reference each, in percent."""
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer)
    found = [scorer.score(reference, text) for text, reference in zip(written, references, strict=True)]
    return {kind: 100 * float(np.mean([one[kind].fmeasure for one in found])) for kind in KINDS}


def lead(sources: Sequence[str], words: int) -> list[str]:
    """Returns the first words of each text, a summary that nothing has to learn."""
    return [" ".join(source.split()[:words]) for source in sources]
