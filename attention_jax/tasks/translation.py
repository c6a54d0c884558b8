"""Turning a text into one of another language, scored by BLEU: Papineni et al. 2002, by sacreBLEU (Post 2018)."""

from dataclasses import replace

import numpy as np
from sacrebleu.metrics import BLEU

from attention_jax.data import Dataset
from attention_jax.tasks.task import Task, check_metric, register
from attention_jax.tasks.token_prediction import token_prediction
from attention_jax.tasks.writing import references_of, texts_of, writes

OWNER = "task translation"


@register
def translation(
    *, metric: str = "loss", label_smoothing: float = 0.1, beams: int = 4, alpha: float = 0.6, lowercase: bool = False
) -> Task:
    """Cross-entropy of the targets as of `token_prediction`, and the BLEU of what beam search writes.

    BLEU is that of a whole split against its one reference, with the tokens of sacreBLEU's 13a, in percent: signature
    nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp (case:lc with `lowercase`).

    Args:
      metric: what decides: "loss", "accuracy" of the next token, or "bleu", which needs decoding at each evaluation.
      label_smoothing: see `token_prediction`.
      beams: hypotheses that are kept; 1 is greedy decoding.
      alpha: the exponent of the length penalty (Wu et al. 2016, equation 14).
      lowercase: whether BLEU ignores case.

    Raises:
      Refused: there is no such metric, or an option has no such value.
    """
    check_metric(metric, ("loss", "accuracy", "bleu"), owner=OWNER)

    def score(collected: dict[str, np.ndarray], dataset: Dataset, split: str) -> dict[str, float]:
        written = texts_of(collected, dataset, owner=OWNER)
        references = references_of(dataset, split, owner=OWNER)
        return {"bleu": BLEU(lowercase=lowercase).corpus_score(written, [references]).score}

    return replace(
        token_prediction(label_smoothing=label_smoothing),
        metric=metric,
        scores=("bleu",),
        collect=writes(beams=beams, alpha=alpha, owner=OWNER),
        score=score,
    )
