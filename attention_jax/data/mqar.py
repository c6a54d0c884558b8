"""Multi-query associative recall: key-value pairs first, then every key again, to be answered with its value."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import ArraySource, Dataset, Source, register
from attention_jax.data.seeds import check_seed

_ROWS_AT_ONCE = 8192  # bounds the memory of the gap draw, which is [rows, gaps] of float64


@register
def mqar(
    *,
    vocabulary_size: int = 8192,
    length: int = 64,
    pairs: int = 4,
    power: float = 0.01,
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the queries only.

    An example starts with D = `pairs` different keys (tokens 1 to V/2 - 1), each followed by its value (tokens V/2 to
    V - 1, all different). In the rest, each key is asked for once, at position 2 D + 2 (g - 1): the gaps g in
    1..(length - 2 D)/2 are drawn without replacement from p(g) ~ a g^(a-1), a = `power` (1 is uniform, small favours
    early queries). The target of a query is its value, at the query's own position. All other positions hold tokens
    drawn uniformly from the whole vocabulary, so a key or value may recur there by chance, without loss.

    Source: Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language Models" (arXiv 2312.04927);
    the law is that of `multiquery_ar` in HazyResearch/zoology with its defaults (random_non_queries on). Differences:
    the random fillers are seeded here; the splits draw from independent streams (there, the test split of seed s is
    the train split of seed s + 10); targets without loss are 0 with weight 0 instead of -100; tokens are int32.

    Args:
      vocabulary_size: V, more than `length`.
      length: tokens in a sequence; even, and at least 4 `pairs`.
      pairs: key-value pairs in a sequence, D.
      power: a of the gap law, more than 0.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    sizes = {"train": train_examples, "validation": validation_examples, "test": test_examples}
    _check(vocabulary_size, length, pairs, power, sizes, seed)
    splits: dict[str, Source] = {}
    for stream, (split, examples) in enumerate(sizes.items()):
        rng = np.random.default_rng([seed, stream])
        starts = range(0, examples, _ROWS_AT_ONCE)
        blocks = [
            _examples(rng, min(_ROWS_AT_ONCE, examples - start), vocabulary_size, length, pairs, power)
            for start in starts
        ]
        splits[split] = ArraySource({field: np.concatenate([block[field] for block in blocks]) for field in blocks[0]})
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})


def _check(vocabulary_size: int, length: int, pairs: int, power: float, sizes: dict[str, int], seed: int) -> None:
    if pairs < 1:
        raise Refused(f"mqar needs at least 1 pair, got pairs {pairs}.")
    if length % 2:
        raise Refused(f"mqar needs an even length (queries sit at even offsets), got {length}: use {length + 1}.")
    if length < 4 * pairs:
        raise Refused(
            f"mqar length {length} is too short for {pairs} pairs (2 tokens each, then 2 for each query): "
            f"use length {4 * pairs} or more, or at most {length // 4} pairs."
        )
    if vocabulary_size <= length:
        raise Refused(f"mqar vocabulary_size {vocabulary_size} must be more than length {length}: use {length + 1}.")
    if not 0 < power < np.inf:
        raise Refused(f"mqar power must be a positive number, got {power}: 0.01 is the paper's, 1 is uniform.")
    for split, examples in sizes.items():
        if examples < 1:
            raise Refused(f"mqar needs at least 1 example in each split, got {split}_examples {examples}.")
    check_seed(seed, name="mqar seed")


def _examples(
    rng: np.random.Generator, rows: int, vocabulary_size: int, length: int, pairs: int, power: float
) -> dict[str, np.ndarray]:
    """Returns `rows` examples: inputs, targets int32 and weights float32, each [rows, length]."""
    keys = _distinct(rng, (rows, pairs), low=1, high=vocabulary_size // 2)
    values = _distinct(rng, (rows, pairs), low=vocabulary_size // 2, high=vocabulary_size)
    queries = 2 * pairs + 2 * (_gaps(rng, (rows, pairs), largest=(length - 2 * pairs) // 2, power=power) - 1)
    inputs = rng.integers(vocabulary_size, size=(rows, length), dtype=np.int32)
    inputs[:, 0 : 2 * pairs : 2] = keys
    inputs[:, 1 : 2 * pairs : 2] = values
    np.put_along_axis(inputs, queries, keys, axis=1)
    targets = np.zeros((rows, length), np.int32)
    np.put_along_axis(targets, queries, values, axis=1)
    weights = np.zeros((rows, length), np.float32)
    np.put_along_axis(weights, queries, 1.0, axis=1)
    return {"inputs": inputs, "targets": targets, "weights": weights}


def _distinct(rng: np.random.Generator, shape: tuple[int, int], *, low: int, high: int) -> np.ndarray:
    """Returns integers low..high-1 int32 `shape`, each row a uniform draw without replacement.

    Repeated entries are drawn again until none is left. No value is treated differently from another, so every tuple
    of different values is equally likely.
    """
    drawn = rng.integers(low, high, size=shape, dtype=np.int32)
    while True:
        order = np.argsort(drawn, axis=1, kind="stable")
        ordered = np.take_along_axis(drawn, order, axis=1)
        repeated = np.zeros(shape, bool)
        np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        if not repeated.any():
            return drawn
        drawn[repeated] = rng.integers(low, high, size=int(repeated.sum()), dtype=np.int32)


def _gaps(rng: np.random.Generator, shape: tuple[int, int], *, largest: int, power: float) -> np.ndarray:
    """Returns gaps 1..largest `shape`, each row drawn one after another without replacement from p(g) ~ g^(power-1).

    An exponential clock of rate p(g) for each gap: the order in which the clocks ring is that draw
    (Efraimidis and Spirakis, 2006).
    """
    rows, pairs = shape
    rates = np.arange(1, largest + 1) ** (power - 1.0)
    rings = rng.exponential(size=(rows, largest)) / rates
    return np.argsort(rings, axis=1)[:, :pairs] + 1
