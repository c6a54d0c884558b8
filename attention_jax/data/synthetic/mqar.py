"""Multi-query associative recall: key-value pairs first, then every key again, to be answered with its value."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def mqar(
    *,
    vocabulary_size: int = 8192,
    length: int = 64,
    pairs: int | tuple[int, ...] = 4,
    power: float = 0.01,
    fillers: str = "random",
    only_asked: bool = True,
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the queries, `asked`.

    An example starts with D = `pairs` different keys (tokens 1 to V/2 - 1), each followed by its value (tokens V/2 to
    V - 1, all different). In the rest, each key is asked for once, at position 2 D + 2 (g - 1): the gaps g in
    1..(length - 2 D)/2 are drawn without replacement from p(g) ~ a g^(a-1), a = `power` (1 is uniform, small favours
    early queries). The target of a query is its value, at the query's own position. All other positions hold fillers.
    Random ones are drawn uniformly from the whole vocabulary, so that a key or value may recur there by chance, without
    loss and followed by what is not its value (zoology issue 29); with zero ones a key comes twice and never again.
    These are two tasks: the generator's default is random, the configs of the paper's Figure 2 have zero.

    Source: Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language Models" (arXiv 2312.04927);
    the law is that of `multiquery_ar` in HazyResearch/zoology. Differences: the random fillers are seeded here; the
    splits draw from independent streams (there, the test split of seed s is the train split of seed s + 10); targets
    without loss are 0 with weight 0 instead of -100; tokens are int32.

    Args:
      vocabulary_size: V, more than `length`.
      length: tokens in a sequence; even, and at least 4 `pairs`.
      pairs: key-value pairs in a sequence, D; of several numbers each example has one, each as likely as another, and
        `task.slices=("pairs",)` tells them apart. The configs of Figure 2 of the paper have several, and there the
        length grows with them.
      power: a of the gap law, more than 0.
      fillers: "random", or "zero": token 0, which is no key.
      only_asked: whether a model that can computes the logits at the queries alone; False has none of them as `asked`,
        and a step does all the work of a language model's.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, the fillers or the seed is impossible.
    """
    numbers = (pairs,) if isinstance(pairs, int) else pairs
    _check(vocabulary_size, length, numbers, power, fillers)

    def draw_of(rng: np.random.Generator, rows: int, number: int) -> Arrays:
        return _examples(rng, rows, vocabulary_size, length, number, power, fillers)

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        drawn = draw_of(rng, rows, pairs) if isinstance(pairs, int) else draws.mixture(rng, rows, pairs, draw_of)
        return {name: array for name, array in drawn.items() if only_asked or name != "asked"}

    splits = generated(
        "mqar",
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})


def _check(vocabulary_size: int, length: int, numbers: tuple[int, ...], power: float, fillers: str) -> None:
    if not numbers or len(set(numbers)) < len(numbers):
        raise Refused(f"mqar pairs {numbers}: give a number, or different ones such as (4, 8, 16).")
    if min(numbers) < 1:
        raise Refused(f"mqar needs at least 1 pair, got pairs {min(numbers)}.")
    pairs = max(numbers)
    if length % 2:
        raise Refused(f"mqar needs an even length (queries sit at even offsets), got {length}: use {length + 1}.")
    if length < 4 * pairs:
        raise Refused(
            f"mqar length {length} is too short for {pairs} pairs (2 tokens each, then 2 for each query): "
            f"use length {4 * pairs} or more, or at most {length // 4} pairs."
        )
    if vocabulary_size <= length:
        raise Refused(f"mqar vocabulary_size {vocabulary_size} must be more than length {length}: use {length + 1}.")
    draws.check_power("mqar", power)
    draws.check_choice("mqar", draws.FILLERS, fillers=fillers)


def _examples(
    rng: np.random.Generator, rows: int, vocabulary_size: int, length: int, pairs: int, power: float, fillers: str
) -> Arrays:
    keys = draws.distinct(rng, (rows, pairs), low=1, high=vocabulary_size // 2)
    values = draws.distinct(rng, (rows, pairs), low=vocabulary_size // 2, high=vocabulary_size)
    gaps = draws.power_law_gaps(rng, (rows, pairs), largest=(length - 2 * pairs) // 2, power=power)
    # Keys among the random ones too: that is the published law.
    inputs = draws.fillers(rng, (rows, length), fillers, vocabulary_size=vocabulary_size)
    queries = 2 * pairs + 2 * (gaps - 1)
    inputs[:, 0 : 2 * pairs : 2] = keys
    inputs[:, 1 : 2 * pairs : 2] = values
    np.put_along_axis(inputs, queries, keys, axis=1)
    return draws.answered(inputs, queries, values)
