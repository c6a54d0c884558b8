"""Writing each stretch of a source once: an alignment that goes forward and never back."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import Arrays, generated
from attention_jax.data.words import BEGIN, END, PADDING

_TAKEN = 3  # padding, begin and end


@register
def stretched_copying(
    *,
    vocabulary_size: int = 23,
    length: int = 40,
    longest_stretch: int = 4,
    train_examples: int = 20_000,
    validation_examples: int = 1_000,
    test_examples: int = 1_000,
    seed: int = 0,
) -> Dataset:
    """Returns sources of stretches, and targets with each stretch once: the arrays of `Pairs.gather`.

    A source is `length` - 1 symbols and the end token: symbol after symbol (3 to V - 1, uniform among those unlike the
    one before), each repeated 1 to `longest_stretch` times, each number as likely as another; the last stretch is cut
    where the source is full. The target is the symbol of each stretch in their order, and the end token. The place of
    the next symbol is not known from the number of the target's token, only from where the one before was found. The
    other way round, with stretches in the target, nothing would say how long they are.

    Source: the alignments are those that Raffel et al., "Online and Linear-Time Attention by Enforcing Monotonic
    Alignments" (arXiv 1704.00784), are about; section 2.1 has the process. Differences: the paper has speech,
    summaries and translations, and no generated task.

    Args:
      vocabulary_size: V, padding, begin and end among them; at least 5.
      length: of each source, its end token with it; at least 2.
      longest_stretch: at least 1, which is plain copying without neighbours that are alike.
      train_examples, validation_examples, test_examples: pairs in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "stretched_copying"
    draws.check_at_least(name, _TAKEN + 2, vocabulary_size=vocabulary_size)
    draws.check_at_least(name, 2, length=length)
    draws.check_at_least(name, 1, longest_stretch=longest_stretch)
    if longest_stretch >= length:
        raise Refused(
            f"{name} has longest_stretch {longest_stretch} in sources of length {length}: use {length - 1} or less."
        )
    splits = generated(
        name,
        lambda rng, rows: _examples(rng, rows, vocabulary_size - _TAKEN, length, longest_stretch),
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
    )
    lengths = {"source_length": length, "target_length": length, "length": length}
    special = {"padding": PADDING, "begin": BEGIN, "end": END}
    return Dataset(splits=splits, facts={"vocabulary_size": vocabulary_size, **lengths, **special})


def _examples(rng: np.random.Generator, rows: int, symbols: int, length: int, longest_stretch: int) -> Arrays:
    most = length - 1
    # A step of 1 to symbols - 1 leads to each of the others alike.
    steps = rng.integers(1, symbols, size=(rows, most))
    steps[:, 0] = rng.integers(symbols, size=rows)
    drawn = (_TAKEN + np.cumsum(steps, axis=1) % symbols).astype(np.int32)
    ends = np.cumsum(rng.integers(1, longest_stretch + 1, size=(rows, most)), axis=1)
    # Of each place of a source the number of stretches that have ended, which is that of its own.
    stretch = (ends[:, None] <= np.arange(most)[:, None]).sum(axis=2)
    source = np.full((rows, length), END, np.int32)
    source[:, :most] = np.take_along_axis(drawn, stretch, axis=1)
    counts = stretch[:, -1:] + 1
    place = np.arange(length)
    padded = np.concatenate([drawn, np.zeros((rows, 1), np.int32)], axis=1)
    targets = np.where(place < counts, padded, np.where(place == counts, END, PADDING)).astype(np.int32)
    real = place <= counts
    inputs = np.where(real, np.concatenate([np.full((rows, 1), BEGIN, np.int32), targets[:, :-1]], axis=1), PADDING)
    return {
        "source": source,
        "source_lengths": np.full(rows, length, np.int32),
        "inputs": inputs.astype(np.int32),
        "target_lengths": (counts[:, 0] + 1).astype(np.int32),
        "targets": targets,
        "weights": real.astype(np.float32),
    }
