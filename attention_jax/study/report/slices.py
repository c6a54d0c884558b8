"""The scores of a benchmark in each slice of its split: where a variant fails, and what may be claimed of it.

A comparison of V variants in K slices is K (V - 1) comparisons. Their verdicts are one family: a shuffle moves the
names of the variants in all slices alike, and a difference counts where it is larger than the largest of any variant in
any slice is by chance (`statistics.family`, `joint`). So of 20 studies of equal variants one is expected to claim
anything of any slice, however many slices there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attention_jax.study.comparison.results import Result
from attention_jax.study.statistics.family import p_values
from attention_jax.study.statistics.verdicts import Comparison, Complete, compared, complete


@dataclass(frozen=True)
class Slices:
    """The slices of one benchmark.

    Attributes:
      reference: the variant compared with.
      labels: of the slices that every run has, such as "pairs=8", those of one slicing together and in its order.
      means: variant -> label -> mean over its seeds, in the order of the plan.
      comparisons: variant -> label -> against the reference, of all slices as one family; of variants that share a seed
        with it.
    """

    reference: str
    labels: tuple[str, ...]
    means: dict[str, dict[str, float]]
    comparisons: dict[str, dict[str, Comparison]]

    @property
    def slicings(self) -> dict[str, list[str]]:
        """The values of each slicing: "pairs" -> ["4", "8"]."""
        found: dict[str, list[str]] = {}
        for label in self.labels:
            name, _, value = label.partition("=")
            found.setdefault(name, []).append(value)
        return found


def slices_of(finished: Mapping[str, Sequence[Result]], *, reference: str, rising: bool) -> Slices | None:
    """Returns the slices of one benchmark; None where no run has any.

    Args:
      finished: variant -> its results that are done, in the order of the plan.
      reference: the variant compared with.
      rising: whether a higher score is better.
    """
    runs = {
        variant: {result.seed: result.slices for result in results if result.slices}
        for variant, results in finished.items()
    }
    runs = {variant: of_seeds for variant, of_seeds in runs.items() if of_seeds}
    every = [slices for of_seeds in runs.values() for slices in of_seeds.values()]
    labels = tuple(label for label in (every[0] if every else ()) if all(label in slices for slices in every))
    if not labels:
        return None
    scores = {
        label: {v: {seed: slices[label] for seed, slices in of_seeds.items()} for v, of_seeds in runs.items()}
        for label in labels
    }
    by_label = _compared(scores, reference=reference, rising=rising)
    return Slices(
        reference,
        labels,
        {v: {label: float(np.mean(list(scores[label][v].values()))) for label in labels} for v in runs},
        {
            v: {label: by_label[label][v] for label in labels}
            for v in runs
            if all(v in by_label[label] for label in labels)
        },
    )


def _compared(
    scores: Mapping[str, Mapping[str, Mapping[int, float]]], *, reference: str, rising: bool
) -> dict[str, dict[str, Comparison]]:
    """Returns the comparisons of each slice. All have the same runs, so what is complete in one is so in each."""
    parts = {label: complete(of_label, reference=reference) for label, of_label in scores.items()}
    whole: dict[str, Complete] = {label: part for label, part in parts.items() if part is not None}
    values: dict[str, np.ndarray] = {}
    if whole:
        stacked = np.stack([part.scores for part in whole.values()])
        values = dict(zip(whole, p_values(stacked, reference=0, joint=True), strict=True))
    return {
        label: compared(of_label, parts[label], values.get(label), reference=reference, rising=rising)
        for label, of_label in scores.items()
    }
