"""Associative recall by distance: pairs spread over a sequence, of which one is asked for at its end."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def associative_recall(
    *,
    vocabulary_size: int = 64,
    length: int = 65,
    pairs: int = 8,
    fillers: str = "zero",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the last, `asked`.

    The first length - 1 tokens are slots of two. `pairs` of them, drawn for each example, hold a key (tokens 1 to
    V/2 - 1, all different) and its value (tokens V/2 to V - 1, all different), the others fillers. The last token is
    one of the keys, each as likely, and its target the value: so the distance from the value to the question is any odd
    number up to length - 2, each as likely as another.

    Source: Ba et al., "Using Fast Weights to Attend to the Recent Past" (arXiv 1610.06258), section 4.1 (c9k8j3??k is
    answered 8), whose pairs follow one another, as here with pairs = (length - 1) / 2. Differences: tokens in place of
    letters and digits, values are different too, the two marks before the question are left out, and there may be
    fillers, so that distance and the number of pairs vary apart.

    Args:
      vocabulary_size: V.
      length: tokens in a sequence; odd.
      pairs: key-value pairs in a sequence, at most (length - 1) / 2.
      fillers: "zero" (token 0, which is no key), or "random": any token but the keys of the row.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, the fillers or the seed is impossible; or the vocabulary holds too few keys.
    """
    name, slots = "associative_recall", (length - 1) // 2
    draws.check_at_least(name, 1, pairs=pairs)
    draws.check_choice(name, draws.FILLERS, fillers=fillers)
    if length % 2 == 0 or pairs > slots:
        raise Refused(
            f"{name} needs an odd length of at least 2 tokens for each of {pairs} pairs and 1 for the question, got "
            f"{length}: use {max(2 * pairs + 1, length + 1 - length % 2)}."
        )
    draws.check_keys(name, pairs=pairs, vocabulary_size=vocabulary_size)

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        keys = draws.distinct(rng, (rows, pairs), low=1, high=vocabulary_size // 2)
        values = draws.distinct(rng, (rows, pairs), low=vocabulary_size // 2, high=vocabulary_size)
        places = 2 * draws.distinct(rng, (rows, pairs), low=0, high=slots)
        inputs = draws.fillers(rng, (rows, length), fillers, vocabulary_size=vocabulary_size, without=keys)
        np.put_along_axis(inputs, places, keys, axis=1)
        np.put_along_axis(inputs, places + 1, values, axis=1)
        # The places are in no order, so the first pair is any of them.
        inputs[:, -1] = keys[:, 0]
        return draws.answered(inputs, np.array([[length - 1]]), values[:, :1])

    splits = generated(
        name,
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": length})
