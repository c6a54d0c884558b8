"""Multi-query recall with forgetting: some keys are bound anew, and the answer is the value they had last."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def forgetting_mqar(
    *,
    vocabulary_size: int = 512,
    length: int = 64,
    pairs: int = 8,
    updates: int = 4,
    power: float = 0.01,
    fillers: str = "random",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the queries, `asked`.

    An example starts with D = `pairs` different keys (tokens 1 to V/2 - 1), each followed by its value (tokens V/2 to
    V - 1, all different). Then come U = `updates` of the keys again, each followed by a value other than its first.
    Each key is then asked for once, at position 2 (D + U) + 2 (g - 1), with gaps g as in `mqar`; its target is the
    value that it had last. All other positions hold fillers.

    Source: `forgetting_mqar` in HazyResearch/zoology (2026, beside arXiv 2312.04927). Differences: the new value of a
    key is never its first (there it is other than the first value of some key, mostly another); random fillers are
    seeded, and are drawn from the vocabulary without the keys of their row (there any token, so that a filler may bind
    a key anew, and the answer would be wrong); the splits draw from independent streams.

    Args:
      vocabulary_size: V, more than `length`.
      length: tokens in a sequence; even, and at least 4 `pairs` + 2 `updates`.
      pairs: keys in a sequence, D.
      updates: how many of them are bound anew, U; 0 to D.
      power: a of the gap law, more than 0.
      fillers: "random", or "zero": token 0, which is no key.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, the fillers or the seed is impossible.
    """
    _check(vocabulary_size, length, pairs, updates, power, fillers)

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        return _examples(rng, rows, vocabulary_size, length, pairs, updates, power, fillers)

    splits = generated(
        "forgetting_mqar",
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})


def _check(vocabulary_size: int, length: int, pairs: int, updates: int, power: float, fillers: str) -> None:
    name = "forgetting_mqar"
    draws.check_at_least(name, 1, pairs=pairs)
    if not 0 <= updates <= pairs:
        raise Refused(f"{name} binds 0 to {pairs} of its {pairs} keys anew, got updates {updates}: use {pairs}, say.")
    shortest = 4 * pairs + 2 * updates
    if length % 2 or length < shortest:
        raise Refused(
            f"{name} needs an even length of at least 4 tokens for each of {pairs} pairs and 2 for each of {updates} "
            f"updates, got {length}: use {max(shortest, length + length % 2)}."
        )
    if vocabulary_size <= length:
        raise Refused(f"{name} vocabulary_size {vocabulary_size} must be more than length {length}: use {length + 1}.")
    draws.check_power(name, power)
    draws.check_choice(name, draws.FILLERS, fillers=fillers)


def _examples(
    rng: np.random.Generator,
    rows: int,
    vocabulary_size: int,
    length: int,
    pairs: int,
    updates: int,
    power: float,
    fillers: str,
) -> Arrays:
    lowest = vocabulary_size // 2
    keys = draws.distinct(rng, (rows, pairs), low=1, high=lowest)
    values = draws.distinct(rng, (rows, pairs), low=lowest, high=vocabulary_size)
    updated = draws.distinct(rng, (rows, pairs), low=0, high=pairs)[:, :updates]
    first = np.take_along_axis(values, updated, axis=1)
    # Any value but the first, each as likely: from a vocabulary of one less, which skips it.
    new = rng.integers(lowest, vocabulary_size - 1, size=(rows, updates), dtype=np.int32)
    new += new >= first
    last = values.copy()
    np.put_along_axis(last, updated, new, axis=1)
    start = 2 * (pairs + updates)
    gaps = draws.power_law_gaps(rng, (rows, pairs), largest=(length - start) // 2, power=power)
    inputs = draws.fillers(rng, (rows, length), fillers, vocabulary_size=vocabulary_size, without=keys)
    inputs[:, 0:start:2] = np.concatenate([keys, np.take_along_axis(keys, updated, axis=1)], axis=1)
    inputs[:, 1:start:2] = np.concatenate([values, new], axis=1)
    queries = start + 2 * (gaps - 1)
    np.put_along_axis(inputs, queries, keys, axis=1)
    return draws.answered(inputs, queries, last)
