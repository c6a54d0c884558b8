"""A needle by length: a pass key somewhere in random tokens, asked for at the end."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated

_DIGITS, MARK, QUESTION, _FILLER = 10, 10, 11, 12


@register
def needle(
    *,
    vocabulary_size: int = 64,
    digits: int = 5,
    lengths: tuple[int, ...] = (32, 64, 128),
    test_lengths: tuple[int, ...] = (),
    train_examples: int = 50_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns generated sequences with fields inputs, targets, weights [B, T]; weight 1 at the answers, `asked`.

    An example of T tokens holds, at a place drawn uniformly, a mark (token 10) and K = `digits` tokens, each uniform
    from 0 to 9; it ends with the question (token 11) and the first K - 1 of them. The targets of these last K tokens
    are the K of the needle. All others are fillers, uniform from 12 to V - 1.

    Source: the pass key of Mohtashami and Jaggi, "Landmark Attention" (arXiv 2305.16300), section 4.2.
    Differences: theirs asks a pretrained model for a number in English text that repeats; here a small model is trained
    on random tokens.

    Args:
      vocabulary_size: V: ten digits, mark, question, and at least one filler.
      digits: tokens of the pass key, K.
      lengths: tokens in a sequence, T: each example has one of these, one as likely as another, and each batch one.
      test_lengths: those of the test split; () is the same. Longer ones need positions that training never sees:
        learned ones fail there, whatever the attention can do.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "needle"
    draws.check_at_least(name, _FILLER + 1, vocabulary_size=vocabulary_size)
    draws.check_at_least(name, 1, digits=digits)
    test_lengths = test_lengths or lengths
    draws.check_some(name, int, 1, lengths=lengths, test_lengths=test_lengths)
    for length in (*lengths, *test_lengths):
        if length < 2 * digits + 1:
            raise Refused(
                f"{name} of {digits} digits takes {2 * digits + 1} tokens at least with its question, and a length is "
                f"{length}: use lengths of {2 * digits + 1} or more, or fewer digits."
            )

    def draw_one(rng: np.random.Generator, rows: int, length: int) -> Arrays:
        inputs = rng.integers(_FILLER, vocabulary_size, size=(rows, length), dtype=np.int32)
        key = rng.integers(_DIGITS, size=(rows, digits), dtype=np.int32)
        place = rng.integers(length - 2 * digits, size=(rows, 1))
        np.put_along_axis(inputs, place, MARK, axis=1)
        np.put_along_axis(inputs, place + 1 + np.arange(digits), key, axis=1)
        inputs[:, length - digits] = QUESTION
        inputs[:, length - digits + 1 :] = key[:, :-1]
        arrays = draws.answered(inputs, np.arange(length - digits, length)[None], key)
        return arrays | {"lengths": np.full(rows, length, np.int32)}

    splits = generated(
        name,
        lambda rng, rows: draws.mixture(rng, rows, lengths, draw_one),
        draw_test=lambda rng, rows: draws.mixture(rng, rows, test_lengths, draw_one),
        by_length=True,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    facts = {"vocabulary_size": vocabulary_size, "length": max(*lengths, *test_lengths)}
    return Dataset(splits=splits, facts=facts)
