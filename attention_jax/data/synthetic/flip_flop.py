"""Flip-flop language: a bit is written, other bits are to be ignored, and the last one written is read."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic.splits import Arrays, Draw, generated

WRITE, READ, IGNORE, ZERO = range(4)


@register
def flip_flop(
    *,
    length: int = 64,
    ignore: tuple[float, ...] = (0.8,),
    test_ignore: tuple[float, ...] = (0.8, 0.98, 0.1),
    train_examples: int = 50_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, length]; weight 1 at the reads only.

    An example is length / 2 instructions, each followed by a bit: write (token 0), read (1) or ignore (2), and 0 (3) or
    1 (4). The first is a write, the last a read; the others are ignores with probability p, drawn for each example from
    `ignore`, and else writes or reads alike. Bits after writes and ignores are uniform, and the bit after a read, which
    is the target of the read, is that after the last write.

    Source: Liu et al., "Exposing Attention Glitches with Flip-Flop Language Modeling" (arXiv 2306.00946), definition 2:
    512 tokens, p = 0.8 in training, and in test also 0.98 (sparse) and 0.1 (dense). Differences: finite splits, and the
    three test sets are one, a third of it each.

    Args:
      length: tokens in a sequence; even, at least 4.
      ignore: the probabilities of an ignore in training and validation, one as likely as another.
      test_ignore: those in test.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, a probability or the seed is impossible.
    """
    name = "flip_flop"
    if length % 2 or length < 4:
        raise Refused(f"{name} needs an even length of at least 4 (write, bit, read, bit), got {length}: use 64, say.")
    for option, values in (("ignore", ignore), ("test_ignore", test_ignore)):
        if not isinstance(values, tuple) or not values or not all(0 <= value <= 1 for value in values):
            raise Refused(f"{name} has {option} {values!r}: give one or more probabilities, such as (0.8,).")

    def draw_with(probabilities: tuple[float, ...]) -> Draw:
        return lambda rng, rows: _examples(rng, rng.choice(probabilities, size=rows), length)

    splits = generated(
        name,
        draw_with(ignore),
        draw_test=draw_with(test_ignore),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    return Dataset(splits=splits, facts={"vocabulary_size": 5, "length": length})


def _examples(rng: np.random.Generator, ignore: np.ndarray, length: int) -> Arrays:
    """Returns an example for each probability of an ignore, [N]."""
    shape = len(ignore), length // 2
    ignored = rng.random(shape) < ignore[:, None]
    instructions = np.where(ignored, IGNORE, rng.integers(2, size=shape))
    instructions[:, 0], instructions[:, -1] = WRITE, READ
    bits = ZERO + rng.integers(2, size=shape)
    written = np.maximum.accumulate(np.where(instructions == WRITE, np.arange(shape[1]), 0), axis=1)
    reads = instructions == READ
    bits = np.where(reads, np.take_along_axis(bits, written, axis=1), bits)
    arrays = {
        "inputs": np.zeros((len(ignore), length), np.int32),
        "targets": np.zeros((len(ignore), length), np.int32),
        "weights": np.zeros((len(ignore), length), np.float32),
    }
    arrays["inputs"][:, ::2], arrays["inputs"][:, 1::2] = instructions, bits
    arrays["targets"][:, ::2] = np.where(reads, bits, 0)
    arrays["weights"][:, ::2] = reads
    return arrays
