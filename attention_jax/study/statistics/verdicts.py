"""What a study allows to say of its variants: against the reference, and of any two.

The test is that of `statistics.family`; this module chooses the runs it needs, and turns p-values into words.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from attention_jax.study.statistics.family import ERROR, LEAST_SEEDS, p_values, pairs
from attention_jax.study.statistics.intervals import quantile

Verdict = Literal["better", "worse", "not separated", "too few seeds"]
Scores = Mapping[str, Mapping[int, float]]  # variant -> seed -> score


@dataclass(frozen=True)
class Comparison:
    """A variant against the reference.

    Attributes:
      difference: the mean of (variant - reference) over the seeds that both have.
      seeds: how many those are.
      p: the chance, were all variants equal, that the study shows a difference as large anywhere; None with too few
        seeds.
      verdict: "better" or "worse" where p <= 0.05.
      low, high: the ends of the 95% interval of the difference, Student's over the pairs of one seed. It is of this
        variant alone, and may leave out 0 where the verdict, which holds for all together, is none. None over one seed,
        and over equal differences, which say nothing of their spread.
    """

    difference: float
    seeds: int
    p: float | None
    verdict: Verdict
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Complete:
    """The runs that verdicts are drawn from: every one of `variants` has a score of every one of `seeds`.

    Attributes:
      variants: the reference first.
      seeds: shared by all of them.
      scores: [N, V].
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: Float[np.ndarray, "N V"]


def complete(scores: Scores, *, reference: str) -> Complete | None:
    """Returns the largest part of the study in which every variant has every seed, or None.

    Names can only be shuffled where nothing is missing. A variant with fewer than three of the reference's seeds is
    left out; of the others the one with the fewest is left out while that makes more runs count: one variant that
    failed on most seeds does not take them from the rest.

    Args:
      scores: of each variant, by seed.
      reference: the variant that is never left out.
    """
    own = set(scores.get(reference, ()))
    kept = [v for v in scores if v != reference and len(own & scores[v].keys()) >= LEAST_SEEDS]
    kept.sort(key=lambda variant: -len(own & scores[variant].keys()))  # stable: the order of the plan among equals
    best: tuple[int, list[str], list[int]] | None = None
    for count in range(len(kept), 0, -1):
        shared = sorted(own.intersection(*(scores[variant] for variant in kept[:count])))
        runs = len(shared) * (count + 1)
        if len(shared) >= LEAST_SEEDS and (best is None or runs > best[0]):
            best = runs, kept[:count], shared
    if best is None:
        return None
    variants = (reference, *(variant for variant in scores if variant in best[1]))
    array = np.array([[scores[variant][seed] for variant in variants] for seed in best[2]])
    return Complete(variants, tuple(best[2]), array)


def against_reference(scores: Scores, part: Complete | None, *, reference: str, rising: bool) -> dict[str, Comparison]:
    """Returns the comparison of each variant that shares a seed with the reference; arguments as of `compared`."""
    values = None if part is None else p_values(part.scores[None], reference=0)[0]
    return compared(scores, part, values, reference=reference, rising=rising)


def compared(
    scores: Scores,
    part: Complete | None,
    values: Float[np.ndarray, "P"] | None,  # noqa: F821 (a shape)
    *,
    reference: str,
    rising: bool,
) -> dict[str, Comparison]:
    """Returns the comparison of each variant that shares a seed with the reference.

    Args:
      scores: of each variant, by seed.
      part: what `complete` returned.
      values: the family-wise p-value of each variant of `part` but the reference.
      reference: the variant compared with.
      rising: whether a higher score is better.
    """
    found: dict[str, Comparison] = {}
    if part is not None and values is not None:
        for variant, p, column in zip(part.variants[1:], values, part.scores.T[1:], strict=True):
            difference, *ends = _paired((column - part.scores[:, 0]).tolist())
            verdict: Verdict = "not separated" if p > ERROR else "better" if (difference > 0) == rising else "worse"
            found[variant] = Comparison(difference, len(part.seeds), float(p), verdict, *ends)
    own = scores.get(reference, {})
    for variant, runs in scores.items():
        shared = sorted(runs.keys() & own.keys())
        if shared and variant != reference and variant not in found:
            difference, *ends = _paired([runs[seed] - own[seed] for seed in shared])
            found[variant] = Comparison(difference, len(shared), None, "too few seeds", *ends)
    return found


def _paired(differences: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean of what one variant is above another on each seed, and the ends of its interval."""
    mean, count = statistics.fmean(differences), len(differences)
    if max(differences) - min(differences) <= 1e-12 * max(1.0, abs(mean)):
        return mean, None, None
    half = quantile(count) * statistics.stdev(differences) / count**0.5
    return mean, mean - half, mean + half


def tie_groups(part: Complete, *, rising: bool) -> list[tuple[str, ...]]:
    """Returns the groups of variants of which no two are separated, best first, a variant in one or several.

    All pairs are tested at once, so the chance of any false separation is 5% here too. This asks more than comparing
    each with the reference: a variant can be better than the reference and share a group with it.

    The groups are those of a compact letter display (Piepho 2004, "An algorithm for a letter-based representation of
    all-pairwise comparisons"): insert and absorb.
    """
    order = np.argsort(part.scores.mean(0) * (-1 if rising else 1), kind="stable")
    place = {int(variant): rank for rank, variant in enumerate(order)}
    values = p_values(part.scores[None], reference=None)[0]
    groups = [frozenset(place)]
    for one, two, p in zip(*pairs(len(order), reference=None), values, strict=True):
        if p <= ERROR:
            parts = [half for group in groups for half in _apart(group, int(one), int(two))]
            groups = [group for group in dict.fromkeys(parts) if not any(group < other for other in parts)]
    ranked = sorted(sorted(place[variant] for variant in group) for group in groups)
    return [tuple(part.variants[int(order[rank])] for rank in group) for group in ranked]


def letters(groups: Sequence[Sequence[str]], variant: str) -> str:
    """Returns the letters of the groups that `variant` is in, "a" for the best: variants with a common one are tied.

    After "z" come "aa", "ab" and so on, with commas between the groups of a variant.
    """
    names = [_letter(place) for place, group in enumerate(groups) if variant in group]
    return ("," if len(groups) > 26 else "").join(names)


def _letter(place: int) -> str:
    return ("" if place < 26 else _letter(place // 26 - 1)) + chr(ord("a") + place % 26)


def _apart(group: frozenset[int], one: int, two: int) -> list[frozenset[int]]:
    return [group - {one}, group - {two}] if {one, two} <= group else [group]
