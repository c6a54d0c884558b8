"""Induction heads: recall the token that followed a mark, when the mark comes again."""

import numpy as np

from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def induction_heads(
    *,
    vocabulary_size: int = 16,
    length: int = 64,
    test_lengths: tuple[int, ...] = (),
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, T]; weight 1 at the last token, `asked`.

    All tokens are drawn uniformly from 0 to V - 2, but for two: the last is the mark, V - 1, and so is another, at a
    place drawn from 0 to T - 3. The target of the last is the token after the first mark.

    Source: Gu and Dao, "Mamba" (arXiv 2312.00752), section 4.1.2 (V 16, T 256 in training, 2^6 to 2^20 in test), after
    Olsson et al., "In-context Learning and Induction Heads" (arXiv 2209.11895), and Dao et al., "Hungry Hungry Hippos"
    (arXiv 2212.14052), table 1. Differences: finite splits, with no example of training in the others.

    Args:
      vocabulary_size: V, the mark among them; at least 3.
      length: tokens in a sequence, T; at least 3.
      test_lengths: those of the test split, one as likely as another and one in each batch; () is `length`. Longer ones
        than `length` need positions that training never sees: learned ones fail there, whatever the attention can do.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "induction_heads"
    draws.check_at_least(name, 3, vocabulary_size=vocabulary_size, length=length)
    draws.check_some(name, int, 3, test_lengths=test_lengths or (length,))

    def draw_one(rng: np.random.Generator, rows: int, tokens: int) -> Arrays:
        inputs = rng.integers(vocabulary_size - 1, size=(rows, tokens), dtype=np.int32)
        mark = rng.integers(tokens - 2, size=(rows, 1))
        np.put_along_axis(inputs, mark, vocabulary_size - 1, axis=1)
        inputs[:, -1] = vocabulary_size - 1
        answer = np.take_along_axis(inputs, mark + 1, axis=1)
        return draws.answered(inputs, np.array([[tokens - 1]]), answer) | {"lengths": np.full(rows, tokens, np.int32)}

    splits = generated(
        name,
        lambda rng, rows: draw_one(rng, rows, length),
        draw_test=lambda rng, rows: draws.mixture(rng, rows, test_lengths or (length,), draw_one),
        by_length=True,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    facts = {"vocabulary_size": vocabulary_size, "length": max(length, *test_lengths, 0)}
    return Dataset(splits=splits, facts=facts)
