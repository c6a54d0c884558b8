"""Compositional multi-query recall: a key is two tokens, and neither of them alone tells the value."""

import math

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, Draw, generated


@register
def compositional_mqar(
    *,
    vocabulary_size: int = 512,
    length: int = 64,
    pairs: tuple[int, ...] = (4, 9),
    test_pairs: tuple[int, ...] = (),
    power: float = 0.01,
    fillers: str = "random",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the queries, `asked`.

    An example has D triples (K1, K2, value), D drawn from `pairs`. Its sqrt(D) first keys and sqrt(D) second keys are
    different, each first key stands with each second key in one triple, all values are different, and the triples come
    in any order. First keys are tokens 1 to V/3 - 1, second keys V/3 to 2V/3 - 1, values the rest. Each (K1, K2) is
    then asked for once, from position 3 D + 3 (g - 1) on, with gaps g as in `mqar` of 1..(length - 3 D)/3; the target
    stands at its K2. All other positions hold fillers.

    Source: `compositional_mqar` in HazyResearch/zoology (2026, beside arXiv 2312.04927). Differences: random fillers
    are seeded, and are drawn from the vocabulary without the keys of their row (there any token, so that a filler may
    bind a key anew); the splits draw from independent streams; the numbers of pairs of a split are mixed in each batch.

    Args:
      vocabulary_size: V, more than `length`.
      length: tokens in a sequence; even, and at least 6 for each pair.
      pairs: numbers of triples, squares; each example has one of them, one as likely as another.
      test_pairs: those of the test split; () is the same.
      power: a of the gap law, more than 0.
      fillers: "random", or "zero": token 0, which is no key.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, the fillers or the seed is impossible.
    """
    _check(vocabulary_size, length, {"pairs": pairs, "test_pairs": test_pairs or pairs}, power, fillers)

    def draw_with(numbers: tuple[int, ...]) -> Draw:
        def draw_one(rng: np.random.Generator, rows: int, number: int) -> Arrays:
            return _examples(rng, rows, number, vocabulary_size, length, power, fillers)

        return lambda rng, rows: draws.mixture(rng, rows, numbers, draw_one)

    splits = generated(
        "compositional_mqar",
        draw_with(pairs),
        draw_test=draw_with(test_pairs or pairs),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})


def _check(vocabulary_size: int, length: int, numbers: dict[str, tuple[int, ...]], power: float, fillers: str) -> None:
    name = "compositional_mqar"
    draws.check_some(name, int, 1, **numbers)
    for option, values in numbers.items():
        for number in values:
            side = math.isqrt(number)
            if side * side != number:
                raise Refused(
                    f"{name} lays out its pairs as a square grid, and {option} has {number}: use {side * side} or "
                    f"{(side + 1) ** 2}."
                )
    most = max(max(values) for values in numbers.values())
    if length % 2 or length < 6 * most:
        raise Refused(
            f"{name} needs an even length of at least 6 tokens for each of {most} pairs, got {length}: use "
            f"{max(6 * most, length + length % 2)}."
        )
    if vocabulary_size <= length:
        raise Refused(f"{name} vocabulary_size {vocabulary_size} must be more than length {length}: use {length + 1}.")
    draws.check_power(name, power)
    draws.check_choice(name, draws.FILLERS, fillers=fillers)


def _examples(
    rng: np.random.Generator, rows: int, pairs: int, vocabulary_size: int, length: int, power: float, fillers: str
) -> Arrays:
    side, third = math.isqrt(pairs), vocabulary_size // 3
    firsts = draws.distinct(rng, (rows, side), low=1, high=third)
    seconds = draws.distinct(rng, (rows, side), low=third, high=2 * third)
    values = draws.distinct(rng, (rows, pairs), low=2 * third, high=vocabulary_size)
    order = draws.distinct(rng, (rows, pairs), low=0, high=pairs)
    first_keys = np.take_along_axis(firsts, order // side, axis=1)
    second_keys = np.take_along_axis(seconds, order % side, axis=1)
    gaps = draws.power_law_gaps(rng, (rows, pairs), largest=(length - 3 * pairs) // 3, power=power)
    inputs = draws.fillers(
        rng,
        (rows, length),
        fillers,
        vocabulary_size=vocabulary_size,
        without=np.concatenate([firsts, seconds], axis=1),
    )
    for place, tokens in enumerate((first_keys, second_keys, values)):
        inputs[:, place : 3 * pairs : 3] = tokens
    queries = 3 * pairs + 3 * (gaps - 1)
    np.put_along_axis(inputs, queries, first_keys, axis=1)
    np.put_along_axis(inputs, queries + 1, second_keys, axis=1)
    return draws.answered(inputs, queries + 1, values)
