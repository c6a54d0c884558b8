"""Sorting different numbers by pointing at them, from the smallest."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.pointing import facts_of, pointed
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def sorting(
    *,
    numbers: int = 100,
    shortest: int = 10,
    longest: int = 10,
    train_examples: int = 100_000,
    validation_examples: int = 2_000,
    test_examples: int = 2_000,
    seed: int = 0,
) -> Dataset:
    """Returns sets of numbers, source [B, S], and the places of them in rising order, as `pointed` lays them out.

    A source is n different whole numbers below `numbers`, each a token: that one is smaller than another has to be
    learned. Sources are padded with 0.

    Source: Vinyals, Bengio & Kudlur, "Order Matters: Sequence to Sequence for Sets" (arXiv 1511.06391), section 4.4.
    Differences: there numbers are drawn from [0, 1) and read as such; here a target ends with the place 0, which is no
    item.

    Args:
      numbers: how many there are to draw from, more than `longest`.
      shortest, longest: items of a source, n; each number is as likely as another.
      train_examples, validation_examples, test_examples: sources in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "sorting"
    draws.check_at_least(name, 1, shortest=shortest)
    draws.check_at_least(name, shortest, longest=longest)
    if numbers <= longest:
        raise Refused(f"{name} numbers={numbers} are too few for {longest} different ones: use {longest + 1} or more.")

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        source = draws.distinct(rng, (rows, longest), low=0, high=numbers)
        counts = rng.integers(shortest, longest + 1, size=rows)
        real = np.arange(longest) < counts[:, None]
        order = 1 + np.argsort(np.where(real, source, numbers), axis=1)
        return {"source": np.where(real, source, 0).astype(np.int32), **pointed(order, counts, counts)}

    splits = generated(
        name,
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
        told_apart_by="source",
    )
    return Dataset(splits=splits, facts=facts_of(vocabulary_size=numbers, most=longest))
