"""From samples to the cells of the table: medians, spreads, ratios and differences."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attention_jax.base.formatting import memory, milliseconds
from attention_jax.bench.measures import Comparison, Ratio

COLUMNS = ("measure", "attention_jax", "against", "its figure", "ratio", "difference")
# Of two right answers in float32, over the standard deviation of either: rounding is a hundredth of it.
LARGEST_DIFFERENCE = 1e-3
WORDS: dict[Ratio, str] = {"speed": "the speed", "time": "the time", "bytes": "the bytes"}


@dataclass(frozen=True)
class Spread:
    """Samples in three numbers: the median, the smallest and the largest."""

    median: float
    low: float
    high: float

    def written(self, number: Callable[[float], str], unit: str = "") -> str:
        """Returns "12.0 ms (11.5 to 13.1)", or the median alone where nothing varies."""
        median = f"{number(self.median)} {unit}".strip()
        return median if self.low == self.high else f"{median} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True)
class Row:
    """A line of the table: ours beside one other."""

    what: str
    ratio: Ratio
    ours: Spread
    other: str
    theirs: Spread
    ratios: tuple[float, ...]
    difference: float | None

    @property
    def relative(self) -> Spread:
        """The spread of the ratios."""
        return spread(self.ratios)

    def cells(self) -> tuple[str, ...]:
        """Returns the text under each of COLUMNS."""
        number, unit = (memory, "") if self.ratio == "bytes" else (milliseconds, "ms")
        return (
            self.what,
            self.ours.written(number, unit),
            self.other,
            self.theirs.written(number, unit),
            self.relative.written(times, WORDS[self.ratio]),
            "-" if self.difference is None else f"{self.difference:.0e}" if self.difference else "0",
        )


def spread(values: Sequence[float]) -> Spread:
    """Returns the median of samples and how far they go.

    Raises:
      ValueError: there are none.
    """
    return Spread(statistics.median(values), min(values), max(values))


def relative(ours: Sequence[float], theirs: Sequence[float], ratio: Ratio) -> tuple[float, ...]:
    """Returns the ratios, each of two samples of one round.

    Args:
      ours: a sample a round.
      theirs: a sample of each of the same rounds.
      ratio: "speed" is theirs over ours, so that 2 is twice as fast; "time" and "bytes" are ours over theirs.
    """
    pairs = zip(ours, theirs, strict=True)
    return tuple(their / our if ratio == "speed" else our / their for our, their in pairs)


def rows(comparison: Comparison, samples: dict[str, list[float]], differences: dict[str, float]) -> list[Row]:
    """Returns a line for each other that was measured, and for the bound.

    Args:
      comparison: what was measured.
      samples: by peer, ours under "attention_jax".
      differences: by peer, of its result from ours.
    """
    ours = samples["attention_jax"]
    others = {name: values for name, values in samples.items() if name != "attention_jax"}
    if comparison.bound is not None:
        others = {comparison.bound.name: [comparison.bound.value] * len(ours), **others}
    return [
        Row(
            what=comparison.what,
            ratio=comparison.ratio,
            ours=spread(ours),
            other=name,
            theirs=spread(values),
            ratios=relative(ours, values, comparison.ratio),
            difference=differences.get(name),
        )
        for name, values in others.items()
    ]


def together(lines: Sequence[Row]) -> list[str]:
    """Returns, of each peer of some lines, the mean of their ratios, and how far down the surest of them lies.

    The mean is geometric, of medians; of each median there is the interval that holds it in 95% of draws from its
    samples (bootstrap).
    """
    said = []
    for other in dict.fromkeys(line.other for line in lines):
        of_other = [line for line in lines if line.other == other]
        mean = statistics.geometric_mean(line.relative.median for line in of_other)
        lowest = min(of_other, key=lambda line: _upper_end(line.ratios))
        said.append(
            f"- {other}: {times(mean)} {WORDS[lowest.ratio]} in the geometric mean of {len(of_other)} medians; the "
            f"lowest upper end of their 95% intervals is {times(_upper_end(lowest.ratios))} ({lowest.what})"
        )
    return said


def fastest(lines: Sequence[Row]) -> list[str]:
    """Returns, of each comparison of some lines, the ratio to the fastest peer that computes the same.

    The interval holds the median of the ratios in 95% of draws from its samples (bootstrap).
    """
    said = []
    for what in dict.fromkeys(line.what for line in lines):
        peers = [line for line in lines if line.what == what and line.difference is not None]
        if not peers:
            continue
        line = min(peers, key=lambda line: line.theirs.median)
        low, high = _interval(line.ratios)
        said.append(
            f"- {what}: {times(line.relative.median)} {WORDS[line.ratio]} of the fastest, {line.other}, 95% interval "
            f"{times(low)} to {times(high)}"
        )
    return said


def _upper_end(ratios: Sequence[float]) -> float:
    return _interval(ratios)[1]


def _interval(ratios: Sequence[float], *, draws: int = 2000) -> tuple[float, float]:
    drawn = np.random.default_rng(0).choice(np.asarray(ratios), (draws, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(low), float(high)


def difference(result: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> float:
    """Returns the largest difference of two digests, over the standard deviation of each array of the reference.

    Raises:
      ValueError: they are not digests of arrays of the same sizes.
    """
    pairs = [(np.asarray(one), np.asarray(other)) for one, other in zip(result, reference, strict=True)]
    largest = [float(np.abs(one - other).max() / (other.std() or 1.0)) for one, other in pairs]
    return float("inf") if np.isnan(largest).any() else max(largest)


def tokens_apart(result: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> tuple[float, str]:
    """Returns which share of tokens [B, M] differ, and in words where the first of them is; "" where none does.

    Raises:
      ValueError: they are not of the same shape.
    """
    one, other = np.asarray(result), np.asarray(reference)
    if one.shape != other.shape:
        raise ValueError(f"tokens {one.shape} cannot be compared with {other.shape}")
    differ = one != other
    if not differ.any():
        return 0.0, ""
    # The first step at which any row differs; what follows in that row is of another text.
    step, row = (int(index[0]) for index in np.nonzero(differ.T))
    return float(differ.mean()), f"the tokens differ first at new token {step} of row {row}"


def markdown(lines: Sequence[Row]) -> str:
    """Returns the table."""
    aligned = (" --- " if column in ("measure", "against") else " ---: " for column in COLUMNS)
    table = ["| " + " | ".join(COLUMNS) + " |", "|" + "|".join(aligned) + "|"]
    return "\n".join([*table, *("| " + " | ".join(row.cells()) + " |" for row in lines)]) + "\n"


def times(value: float) -> str:
    """Returns "5.07x" in three figures; a large ratio is not written as a power of ten."""
    return f"{value:.0f}x" if value >= 100 else f"{value:.3g}x"
