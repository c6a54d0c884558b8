"""Stacked multi-query recall: key and value share a place, so nothing is to be shifted and memory is all there is."""

import numpy as np

from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def stacked_mqar(
    *,
    vocabulary_size: int = 128,
    pairs: int = 8,
    passes: int = 1,
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences: inputs [B, T, 2], targets, weights [B, T]; weight 1 at the last D places, `asked`.

    A place holds two tokens. An example has D = `pairs` different keys (1 to V/2 - 1), each with a value (V/2 to V - 1,
    all different). The first places hold (key, value) of all pairs, `passes` times over, each time in another order;
    the last D hold (key, 0) of each, in another order again, and the target is the value. T is (passes + 1) D.

    Source: `continuous_mqar` in HazyResearch/zoology (`stacked_mqar.py`, 2026, beside arXiv 2312.04927), with passes
    after Arora et al. (arXiv 2407.05483). Differences: the vectors of the tokens are the model's own, which it adds up
    (there they are given, and laid side by side), and the answer is chosen among all tokens (there among the values);
    the splits draw from independent streams.

    Args:
      vocabulary_size: V.
      pairs: key-value pairs in a sequence, D.
      passes: how many times they are shown.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible, or the vocabulary holds too few keys.
    """
    name = "stacked_mqar"
    draws.check_at_least(name, 1, pairs=pairs, passes=passes)
    draws.check_keys(name, pairs=pairs, vocabulary_size=vocabulary_size)

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        keys = draws.distinct(rng, (rows, pairs), low=1, high=vocabulary_size // 2)
        values = draws.distinct(rng, (rows, pairs), low=vocabulary_size // 2, high=vocabulary_size)
        orders = [draws.distinct(rng, (rows, pairs), low=0, high=pairs) for _ in range(passes + 1)]
        shown = [
            np.concatenate([np.take_along_axis(of, order, axis=1) for order in orders], 1) for of in (keys, values)
        ]
        asked = np.arange(passes * pairs, (passes + 1) * pairs)[None]
        arrays = draws.answered(shown[0], asked, shown[1][:, asked[0]])
        shown[1][:, asked[0]] = 0
        return arrays | {"inputs": np.stack(shown, axis=2)}

    splits = generated(
        name,
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, "length": (passes + 1) * pairs})
