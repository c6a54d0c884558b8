"""What generators of examples share: draws without replacement, fillers, mixtures, and the checks of their sizes."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.synthetic.splits import Arrays

Choice = TypeVar("Choice", int, float)

FILLERS = ("random", "zero")
POSITIONS = ("index", "randomized")


def distinct(rng: np.random.Generator, shape: tuple[int, int], *, low: int, high: int) -> np.ndarray:
    """Returns integers low..high-1 int32 `shape`, each row a uniform draw without replacement."""
    if 2 * shape[1] > high - low:
        order = np.argsort(rng.random((shape[0], high - low)), axis=1)[:, : shape[1]]
        return (low + order).astype(np.int32)
    # Repeated entries are drawn again until none is left. No value is treated differently from another, so every tuple
    # of different values is equally likely.
    drawn = rng.integers(low, high, size=shape, dtype=np.int32)
    while True:
        order = np.argsort(drawn, axis=1, kind="stable")
        ordered = np.take_along_axis(drawn, order, axis=1)
        repeated = np.zeros(shape, bool)
        np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        if not repeated.any():
            return drawn
        drawn[repeated] = rng.integers(low, high, size=int(repeated.sum()), dtype=np.int32)


def power_law_gaps(rng: np.random.Generator, shape: tuple[int, int], *, largest: int, power: float) -> np.ndarray:
    """Returns gaps 1..largest `shape`, each row drawn one after another without replacement from p(g) ~ g^(power-1).

    An exponential clock of rate p(g) for each gap: the order in which the clocks ring is that draw
    (Efraimidis and Spirakis, 2006).
    """
    rows, pairs = shape
    rates = np.arange(1, largest + 1) ** (power - 1.0)
    rings = rng.exponential(size=(rows, largest)) / rates
    return np.argsort(rings, axis=1)[:, :pairs] + 1


def fillers(
    rng: np.random.Generator,
    shape: tuple[int, int],
    kind: str,
    *,
    vocabulary_size: int,
    without: np.ndarray | None = None,
) -> np.ndarray:
    """Returns tokens that mean nothing, int32 [N, T]: all 0, or drawn uniformly from a vocabulary.

    Args:
      rng: draws them.
      shape: [N, T].
      kind: "random" or "zero".
      vocabulary_size: they are smaller.
      without: [N, K], for each row the tokens that none of its random fillers is; None is no token.
    """
    if kind == "zero":
        return np.zeros(shape, np.int32)
    drawn = rng.integers(vocabulary_size, size=shape, dtype=np.int32)
    if without is None:
        return drawn
    taken = np.zeros((shape[0], vocabulary_size), bool)
    np.put_along_axis(taken, without, True, axis=1)
    while (again := np.take_along_axis(taken, drawn, axis=1)).any():
        drawn[again] = rng.integers(vocabulary_size, size=int(again.sum()), dtype=np.int32)
    return drawn


def answered(inputs: np.ndarray, places: np.ndarray, answers: np.ndarray) -> Arrays:
    """Returns inputs, targets int32, weights float32 [N, T] and asked int32 [N, K]: sequences asked at some places.

    Args:
      inputs: int32 [N, T].
      places: [N, K], where the answers are wanted, or [1, K] where it is the same for all. A model that reads them as
        `asked` computes no logits elsewhere, which with a large vocabulary are most of a step.
      answers: [N, K].
    """
    places = np.broadcast_to(places, answers.shape)
    targets = np.zeros(inputs.shape, np.int32)
    weights = np.zeros(inputs.shape, np.float32)
    np.put_along_axis(targets, places, answers, axis=1)
    np.put_along_axis(weights, places, 1.0, axis=1)
    return {"inputs": inputs, "targets": targets, "weights": weights, "asked": places.astype(np.int32)}


def mixture(
    rng: np.random.Generator,
    rows: int,
    choices: Sequence[Choice],
    draw: Callable[[np.random.Generator, int, Choice], Arrays],
) -> Arrays:
    """Returns rows each of which is drawn with one of the choices, each as likely as another.

    Args:
      rng: draws.
      rows: N.
      choices: numbers.
      draw: (generator of random numbers, rows, choice) -> arrays [rows, ...]; those [rows, T] may be of several T, and
        are padded with 0 at their end: the place 0, where nothing may count, in "asked".
    """
    which = rng.integers(len(choices), size=rows)
    parts = [draw(rng, int(np.sum(which == number)), choice) for number, choice in enumerate(choices)]
    order = np.argsort(which, kind="stable")
    arrays = {}
    for name in parts[0]:
        drawn = [part[name] for part in parts]
        if drawn[0].ndim == 2:
            longest = max(array.shape[1] for array in drawn)
            drawn = [np.pad(array, ((0, 0), (0, longest - array.shape[1]))) for array in drawn]
        joined = np.concatenate(drawn)
        arrays[name] = np.empty_like(joined)
        arrays[name][order] = joined
    return arrays


def check_at_least(owner: str, least: float, **numbers: float) -> None:
    """Checks that no number is too small.

    Raises:
      Refused: one is; the message names it.
    """
    for name, number in numbers.items():
        if not number >= least:
            raise Refused(f"{owner} needs {name} of at least {least}, got {name} {number}.")


def check_choice(owner: str, choices: Collection[str], **options: str) -> None:
    """Checks that each option is one of the choices.

    Raises:
      Refused: one is not; the message gives the nearest choice.
    """
    for name, value in options.items():
        if value not in choices:
            raise Refused(f"{owner} has no {name} {value!r}.{did_you_mean(str(value), choices)}")


def check_some(owner: str, kind: type, least: float, **options: Sequence[float]) -> None:
    """Checks that each option is a tuple of different numbers, none of them too small.

    Raises:
      Refused: one is not.
    """
    for name, values in options.items():
        several = isinstance(values, tuple) and len(values) == len(set(values)) > 0
        if not several or not all(isinstance(value, kind) and value >= least for value in values):
            raise Refused(
                f"{owner} has {name} {values!r}: give one or more different numbers of at least {least}, such as "
                f"({least},)."
            )


def check_power(owner: str, power: float) -> None:
    """Checks the exponent of the law of gaps.

    Raises:
      Refused: it is not a positive number.
    """
    if not 0 < power < np.inf:
        raise Refused(f"{owner} power must be a positive number, got {power}: 0.01 is the paper's, 1 is uniform.")


def check_keys(owner: str, *, pairs: int, vocabulary_size: int) -> None:
    """Checks that the first half of a vocabulary, without token 0, holds as many different keys as there are pairs.

    Raises:
      Refused: it does not.
    """
    held = max(0, vocabulary_size // 2 - 1)
    if pairs > held:
        raise Refused(
            f"{owner} draws {pairs} different keys, and vocabulary_size {vocabulary_size} holds {held}: use "
            f"vocabulary_size {2 * pairs + 2} or more, or at most {held} pairs."
        )


def check_lengths(owner: str, *, shortest: int, longest: int, test_shortest: int, test_longest: int) -> None:
    """Checks the bounds of lengths in training and in test.

    Raises:
      Refused: one is less than 1, or a longest is less than its shortest.
    """
    check_at_least(owner, 1, shortest=shortest, test_shortest=test_shortest)
    for name, low, high in (("longest", shortest, longest), ("test_longest", test_shortest, test_longest)):
        if high < low:
            raise Refused(f"{owner} has {name} {high}, less than its shortest, {low}: use {name} {low} or more.")


def positions_for(tokens: int, positions: str) -> int:
    """Returns how many positions a model needs for sequences of so many tokens.

    Args:
      tokens: of the longest sequence.
      positions: "index", or "randomized" of twice as many.
    """
    return 2 * tokens if positions == "randomized" else tokens


def with_positions(rng: np.random.Generator, arrays: Arrays, positions: str, *, length: int) -> Arrays:
    """Returns arrays with positions int32 [N, T] too where they are "randomized".

    These are drawn for each row from 0 to length - 1 without replacement, and rise (Ruoss et al., "Randomized
    Positional Encodings Boost Length Generalization of Transformers", arXiv 2305.16843).
    """
    if positions == "index":
        return arrays
    return arrays | {"positions": np.sort(distinct(rng, arrays["inputs"].shape, low=0, high=length), axis=1)}
