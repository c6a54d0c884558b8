"""The test under every verdict: many comparisons of one study at once, at a held chance of any false one.

Scores are arrays [S, N, V]: S studies (one, or thousands that are simulated), N seeds, V variants. Seeds are blocks:
every variant has a score of every seed, and what a seed does to all of them (the order of the data) is taken out.

The rule, called shuffle + gate here:
1. The statistic of a pair is the difference of its means over the pooled residual of the study (what is left of the
   scores without the seeds' and the variants' means), squared.
2. Under "all equal" the names of the variants may be shuffled within each seed. The p-value of a pair is the share of
   shuffles in which the *largest* statistic of any pair is at least its own: the family-wise p-value of Westfall and
   Young 1993, "Resampling-based multiple testing", with the blocks of Fisher 1935.
3. Step down (Romano and Wolf 2005, "Exact and approximate stepdown methods"): when pairs are separated, the largest is
   taken over the rest alone; a variant already separated keeps its residuals and loses its lead, then names are
   shuffled again. The first step is exact for any shape of the scores; later ones are as good as their residuals.
4. The gate: a pair also needs p < 5% by itself, from Welch's t or from the paired t. The pooled residual believes that
   all variants spread alike; the gate does not.

Several scores of the same runs, such as one for each slice of a split, are one family too (`joint`): a shuffle moves
the names in all of them alike, and the largest statistic is that of any pair in any of them. What the scores share is
kept, so that slices which say the same cost nothing. The gate is corrected for the number of scores too (Sidak 1967):
where one variant spreads far more than the rest, each score would add its own false verdicts.

Where the shuffles are too few to reach 5% (two variants with five seeds or less, three or four with three), the
statistic is compared with that of normal scores instead: for two variants this is the paired t-test. Joint scores count
as independent of each other there, which can only make them fewer.
"""

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

ERROR = 0.05  # the chance of any false verdict in a study of equal variants
LEAST_SEEDS = 3  # two residuals for each variant tell nothing of its spread
SHUFFLES = 9999  # the p-value 0.05 is then known to 0.002

# p-values are made a tenth larger: steps after the first are approximate, and shapes differ. Simulated studies of every
# shape then stay at or below 5%; the smallest difference found grows by 1%.
_MARGIN = 0.9
_NORMAL_STUDIES = 20_000
_CHUNK = 2_000_000  # numbers held at once
_NOTHING = 1e-12  # a share of the sum of squares that is rounding

_Scores = Float[np.ndarray, "S N V"]
_Pairs = tuple[Int[np.ndarray, "P"], Int[np.ndarray, "P"]]  # noqa: F821 (a shape)


def pairs(variants: int, *, reference: int | None) -> _Pairs:
    """Returns the pairs compared, as two arrays of variants: each with `reference`, which comes second, or all."""
    if reference is None:
        first, second = np.triu_indices(variants, 1)
        return first, second
    others = np.array([variant for variant in range(variants) if variant != reference], int)
    return others, np.full_like(others, reference)


def p_values(
    scores: _Scores, *, reference: int | None, joint: bool = False, shuffles: int = SHUFFLES, seed: int = 0
) -> Float[np.ndarray, "S P"]:
    """Returns the family-wise p-value of each of `pairs(V, reference=reference)` in each study; 0.05 decides.

    Args:
      scores: finite scores, at least two variants and LEAST_SEEDS seeds.
      reference: the variant that each other is compared with; None compares all pairs.
      joint: whether the S studies are as many scores of the same runs, and one family together.
      shuffles: how many are sampled where they are not all taken.
      seed: of the sampling.

    Raises:
      ValueError: there are too few seeds or variants, or a score is not finite.
    """
    studies, seeds, variants = scores.shape
    if seeds < LEAST_SEEDS or variants < 2 or not np.isfinite(scores).all():
        raise ValueError(f"{seeds} seeds of {variants} variants, or scores that are not finite, allow no test.")
    family = pairs(variants, reference=reference)
    blocks = _without_seeds(scores)
    observed = _statistic(blocks.mean(1), _squares(blocks), seeds, family)
    gate = _gate(scores, family)
    if joint:
        gate = 1 - (1 - gate) ** studies
    found = np.ones_like(observed)
    separated = np.zeros(observed.shape, bool)
    floor = np.zeros(studies)  # a later step's p-value is never below an earlier one's
    open_ = np.arange(studies)
    while len(open_):
        active = ~separated[open_]
        data = _aligned(blocks[open_], separated[open_], family, reference=reference) if separated.any() else blocks
        shares = _shares(data, observed[open_], active, family, joint=joint, shuffles=shuffles, seed=seed)
        step = np.maximum(np.maximum(shares / _MARGIN, gate[open_]), floor[open_, None]).clip(max=1)
        found[open_] = np.where(active, step, found[open_])
        new = active & (step <= ERROR)
        highest = np.where(new, step, 0).max(1)
        floor[open_] = np.maximum(floor[open_], highest.max() if joint else highest)
        separated[open_] |= new
        open_ = open_[(new.any() if joint else new.any(1)) & ~separated[open_].all(1)]
    return found


def residuals(scores: Float[np.ndarray, "N V"]) -> Float[np.ndarray, "N V"]:
    """Returns what is left of the scores of one study without the means of seeds and variants, at its true size.

    The N + V - 1 means take their share of the squares; they are scaled up by what is missing on average.
    """
    seeds, variants = scores.shape
    blocks = _without_seeds(scores[None])[0]
    left = blocks - blocks.mean(0)
    return left * math.sqrt(seeds * variants / ((seeds - 1) * (variants - 1)))


def _without_seeds(scores: _Scores) -> _Scores:
    return scores - scores.mean(2, keepdims=True)


def _squares(blocks: _Scores) -> Float[np.ndarray, "S"]:  # noqa: F821
    """Returns the sum of squares within the seeds, which no shuffle changes."""
    return (blocks**2).sum((1, 2))


def _statistic(
    means: Float[np.ndarray, "*A V"], squares: Float[np.ndarray, "*#A"], seeds: int, family: _Pairs
) -> Float[np.ndarray, "*A P"]:
    """Returns the squared difference of each pair over the residual sum of squares; 0 where all scores are equal."""
    between = seeds * ((means - means.mean(-1, keepdims=True)) ** 2).sum(-1)
    # Variants that do not spread at all have a residual of rounding alone: their differences are large, not infinite.
    residual = np.maximum(squares - between, _NOTHING * squares)[..., None]
    difference = (means[..., family[0]] - means[..., family[1]]) ** 2
    counts = (residual > 0) & (seeds * difference > _NOTHING**2 * squares[..., None])
    return np.divide(difference, residual, out=np.zeros_like(difference), where=counts)


def _gate(scores: _Scores, family: _Pairs) -> Float[np.ndarray, "S P"]:
    """Returns the smaller p-value of Welch's t and of the paired t, of each pair by itself.

    Welch 1947 believes in no common spread, and Student's paired test sees past what a seed does to both; with either
    alone a true difference is lost where the other is meant.
    """
    seeds = scores.shape[1]
    means, variances = scores.mean(1), scores.var(1, ddof=1) / seeds
    one, two = (variances[:, side] for side in family)
    difference = np.abs(means[:, family[0]] - means[:, family[1]])
    paired = (scores[:, :, family[0]] - scores[:, :, family[1]]).var(1, ddof=1) / seeds
    tiny = _NOTHING * (1e-300 + difference**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (one + two) ** 2 * (seeds - 1) / (one**2 + two**2)
        welch = 2 * scipy.stats.t.sf(difference / np.sqrt(one + two), freedom)
        student = 2 * scipy.stats.t.sf(difference / np.sqrt(paired), seeds - 1)
    constant = np.where(difference > 0, 0.0, 1.0)
    return np.minimum(np.where(one + two > tiny, welch, constant), np.where(paired > tiny, student, constant))


def _aligned(blocks: _Scores, separated: Bool[np.ndarray, "S P"], family: _Pairs, *, reference: int | None) -> _Scores:
    """Moves each variant of a separated pair, but for the reference, to the mean of the rest.

    Its residuals are those of N scores around their own mean, so they are scaled back to their size.
    """
    seeds = blocks.shape[1]
    moved = np.zeros((len(blocks), blocks.shape[2]), bool)
    for side in family:
        for pair, variant in enumerate(side):
            moved[:, variant] |= separated[:, pair] & (variant != reference)
    means = blocks.mean(1)
    rest = np.where(moved, 0, means).sum(1) / np.maximum((~moved).sum(1), 1)
    scaled = rest[:, None, None] + (blocks - means[:, None]) * math.sqrt(seeds / (seeds - 1))
    return _without_seeds(np.where(moved[:, None], scaled, blocks))


def _shares(
    blocks: _Scores,
    observed: Float[np.ndarray, "S P"],
    active: Bool[np.ndarray, "S P"],
    family: _Pairs,
    *,
    joint: bool,
    shuffles: int,
    seed: int,
) -> Float[np.ndarray, "S P"]:
    """Returns the share of shuffles whose largest statistic, of the active pairs, is at least the observed one."""
    studies, seeds, variants = blocks.shape
    observed = observed * (1 - 1e-9)  # a shuffle that changes nothing counts, whatever its rounding
    if variants ** (1 - seeds) > ERROR:  # one variant apart from the rest in every seed: no shuffle is rarer
        return _normal_shares(observed, active, seeds, variants, family, joint=joint)
    exact = math.factorial(variants) ** seeds <= 2 * shuffles  # then a sample would not be cheaper
    flat, squares = blocks.reshape(studies, seeds * variants), _squares(blocks)[:, None]
    count, total = np.zeros_like(observed), 0
    size = max(1, _CHUNK // max(studies * len(family[0]), seeds * variants**2))
    for chosen in _all_shuffles(seeds, variants, size) if exact else _shuffles(seeds, variants, shuffles, size, seed):
        means = (flat @ _averaging(chosen)).reshape(studies, -1, variants)
        largest = np.where(active[:, None], _statistic(means, squares, seeds, family), -1).max(-1)
        if joint:
            largest = largest.max(0, keepdims=True)
        count += (largest[:, :, None] >= observed[:, None]).sum(1)
        total += len(chosen)
    return count / total if exact else (1 + count) / (1 + total)


def _averaging(chosen: Int[np.ndarray, "B N V"]) -> Float[np.ndarray, "NV BV"]:
    """Returns the matrix that takes the scores of a study to its variants' means under each shuffle."""
    count, seeds, variants = chosen.shape
    matrix = np.zeros((seeds * variants, count * variants))
    shuffle, seed, name = np.ogrid[:count, :seeds, :variants]
    rows, columns = np.broadcast_arrays(seed * variants + chosen, shuffle * variants + name)
    matrix[rows, columns] = 1 / seeds
    return matrix


def _shuffles(seeds: int, variants: int, count: int, size: int, seed: int) -> Iterator[Int[np.ndarray, "B N V"]]:
    random = np.random.default_rng(seed)
    for start in range(0, count, size):
        yield np.argsort(random.random((min(size, count - start), seeds, variants)), axis=-1)


def _all_shuffles(seeds: int, variants: int, size: int) -> Iterator[Int[np.ndarray, "B N V"]]:
    orders = np.array(list(itertools.permutations(range(variants))))
    every = np.indices((len(orders),) * seeds).reshape(seeds, -1).T
    for start in range(0, len(every), size):
        yield orders[every[start : start + size]]


def _normal_shares(
    observed: Float[np.ndarray, "S P"],
    active: Bool[np.ndarray, "S P"],
    seeds: int,
    variants: int,
    family: _Pairs,
    *,
    joint: bool,
) -> Float[np.ndarray, "S P"]:
    null = _normal_statistics(seeds, variants, tuple(family[0].tolist()), tuple(family[1].tolist()))
    shares, none_larger = np.empty_like(observed), np.ones_like(observed)
    for kind in np.unique(active, axis=0):
        these = (active == kind).all(1)
        largest = np.sort(null[:, kind].max(1))

        def share(values: Float[np.ndarray, "..."], largest: Float[np.ndarray, "N"] = largest) -> np.ndarray:  # noqa: F821
            return (1 + len(largest) - np.searchsorted(largest, values)) / (1 + len(largest))

        shares[these] = share(observed[these])
        none_larger *= (1 - share(observed)) ** these.sum()
    return 1 - none_larger if joint else shares


@lru_cache(maxsize=32)
def _normal_statistics(
    seeds: int, variants: int, first: tuple[int, ...], second: tuple[int, ...]
) -> Float[np.ndarray, "S P"]:
    """Returns the statistics of equal variants with normal scores, many studies."""
    blocks = _without_seeds(np.random.default_rng(0).standard_normal((_NORMAL_STUDIES, seeds, variants)))
    return _statistic(blocks.mean(1), _squares(blocks), seeds, (np.array(first), np.array(second)))
