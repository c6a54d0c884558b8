"""Copying, reversing and sorting a string."""

import numpy as np

from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, Draw, generated

_ORDERS = ("given", "reversed", "sorted")


@register
def copying(
    *,
    vocabulary_size: int = 27,
    order: str = "given",
    shortest: int = 5,
    longest: int = 20,
    test_shortest: int = 5,
    test_longest: int = 20,
    train_examples: int = 100_000,
    validation_examples: int = 3_000,
    test_examples: int = 3_000,
    seed: int = 0,
) -> Dataset:
    """Returns strings to write again: fields inputs, targets, weights [B, T], lengths [B]; weight 1 at the answers.

    An example is n items (0 to V - 2, uniform, with repetition), the separator V - 1, and the first n - 1 of the
    answers, padded with 0 to twice the largest n. The target of the separator is the first answer, that of each answer
    the next. Each n between its bounds is as likely as another.

    Source: copying is that of Jelassi et al., "Repeat After Me" (arXiv 2402.01032), section 4 (26 letters, longer in
    test than in training); reversing and sorting are "Reverse String" and "Bucket Sort" of Deletang et al., "Neural
    Networks and the Chomsky Hierarchy" (arXiv 2207.02098). Differences: a row holds one string (there copies are packed
    to 220 tokens), and reversed and sorted answers are shown as they are written, as to a language model.

    Args:
      vocabulary_size: V, the separator among them; at least 2.
      order: of the answers: as "given", "reversed", or "sorted" from the lowest.
      shortest, longest: items in training and validation, n.
      test_shortest, test_longest: items in test. Strings longer than in training need positions that training never
        sees: learned ones fail there, whatever the attention can do.
      train_examples, validation_examples, test_examples: sequences in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size, the order or the seed is impossible.
    """
    name = "copying"
    draws.check_at_least(name, 2, vocabulary_size=vocabulary_size)
    draws.check_choice(name, _ORDERS, order=order)
    draws.check_lengths(
        name, shortest=shortest, longest=longest, test_shortest=test_shortest, test_longest=test_longest
    )

    def draw_between(low: int, high: int) -> Draw:
        return lambda rng, rows: _examples(rng, rows, vocabulary_size, order, low, high)

    splits = generated(
        name,
        draw_between(shortest, longest),
        draw_test=draw_between(test_shortest, test_longest),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    facts = {"vocabulary_size": vocabulary_size, "length": 2 * max(longest, test_longest)}
    return Dataset(splits=splits, facts=facts)


def _examples(
    rng: np.random.Generator, rows: int, vocabulary_size: int, order: str, shortest: int, longest: int
) -> Arrays:
    counts = rng.integers(shortest, longest + 1, size=(rows, 1))
    items = rng.integers(vocabulary_size - 1, size=(rows, longest), dtype=np.int32)
    place = np.arange(longest)
    real = place < counts
    answers = items
    if order == "reversed":
        answers = np.take_along_axis(items, np.maximum(counts - 1 - place, 0), axis=1)
    elif order == "sorted":
        # What is not real goes last.
        answers = np.sort(np.where(real, items, vocabulary_size), axis=1)
    # Places past a string's own end are those of a column that is cut off.
    scratch = 2 * longest
    inputs = np.zeros((rows, scratch + 1), np.int32)
    inputs[:, :longest] = np.where(real, items, 0)
    np.put_along_axis(inputs, np.where(real, counts + 1 + place, scratch), answers, axis=1)
    np.put_along_axis(inputs, counts, vocabulary_size - 1, axis=1)
    np.put_along_axis(inputs, 2 * counts, 0, axis=1)
    arrays = draws.answered(inputs, np.where(real, counts + place, scratch), answers)
    cut = {field: arrays[field][:, :scratch] for field in ("inputs", "targets", "weights")}
    return cut | {"lengths": 2 * counts[:, 0].astype(np.int32)}
