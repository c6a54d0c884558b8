"""Parity: whether the number of ones so far is odd."""

import numpy as np

from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, Draw, generated

_ANSWERS = ("last", "each")


@register
def parity(
    *,
    shortest: int = 3,
    longest: int = 40,
    test_shortest: int = 40,
    test_longest: int = 256,
    answers: str = "last",
    positions: str = "index",
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns bits with their parity: fields inputs, targets, weights [B, T], lengths [B], and positions where random.

    An example is n bits, uniform, padded with 0 to the largest n of its split; each n between the split's bounds is as
    likely as another. The target of a bit is the parity of the bits up to and with it.

    Source: Grazzi et al., "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues" (arXiv 2411.12537),
    section 5.1 (3 to 40 bits in training, 40 to 256 in test), after Deletang et al. (arXiv 2207.02098). Differences:
    finite splits; short strings of training recur in validation, since there are so few.

    Args:
      shortest, longest: bits in training and validation.
      test_shortest, test_longest: bits in test.
      answers: "last" counts the answer at the last bit of each string, "each" that at every bit.
      positions: "index" gives none, and a model with learned positions then meets ones in test that training never
        saw: its score says this, and not what its attention can do. "randomized" gives positions drawn for each
        example, rising, of twice as many as the longest string has bits, in training and in test (Ruoss et al.,
        arXiv 2305.16843).
      train_examples, validation_examples, test_examples: strings in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, a choice or the seed is impossible.
    """
    name = "parity"
    draws.check_lengths(
        name, shortest=shortest, longest=longest, test_shortest=test_shortest, test_longest=test_longest
    )
    draws.check_choice(name, _ANSWERS, answers=answers)
    draws.check_choice(name, draws.POSITIONS, positions=positions)
    length = draws.positions_for(max(longest, test_longest), positions)

    def draw_between(low: int, high: int) -> Draw:
        def draw(rng: np.random.Generator, rows: int) -> Arrays:
            arrays = _examples(rng, rows, low, high, answers)
            return draws.with_positions(rng, arrays, positions, length=length)

        return draw

    splits = generated(
        name,
        draw_between(shortest, longest),
        draw_test=draw_between(test_shortest, test_longest),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": 2, "length": length})


def _examples(rng: np.random.Generator, rows: int, shortest: int, longest: int, answers: str) -> Arrays:
    lengths = rng.integers(shortest, longest + 1, size=rows, dtype=np.int32)
    place = np.arange(longest)
    real = place < lengths[:, None]
    bits = np.where(real, rng.integers(2, size=(rows, longest), dtype=np.int32), 0)
    counted = real if answers == "each" else place == lengths[:, None] - 1
    return {
        "inputs": bits,
        "targets": np.where(counted, np.bitwise_xor.accumulate(bits, axis=1), 0),
        "weights": counted.astype(np.float32),
        "lengths": lengths,
    }
