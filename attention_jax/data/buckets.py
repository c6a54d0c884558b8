"""A few lengths that examples are padded to, chosen for as little padding as there can be."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.packing import check_rows

# The least share of the examples in a chosen bucket, of an even share: a batch has the examples of one bucket alone.
_LEAST_SHARE = 0.25


def lengths_of(buckets: int | tuple[int, ...], *, longest: int, lengths: np.ndarray) -> tuple[int, ...]:
    """Returns the lengths that examples are padded to, rising, the last of them `longest`.

    Args:
      buckets: how many to choose by `fewest_padding`, or the lengths themselves; () is `longest` alone.
      longest: the most tokens of an example.
      lengths: of the training examples, [N], each at most `longest`. Chosen lengths end at the greatest of them, and
        `longest` then follows, for what other splits have beyond it.

    Raises:
      Refused: the number is less than 1, or the lengths do not rise to `longest`.
    """
    if isinstance(buckets, tuple):
        check_rows(longest, buckets, name="length")
        return buckets or (longest,)
    if buckets < 1:
        raise Refused(f"buckets={buckets}: give how many there are, at least 1, or their lengths, such as (16, 32).")
    chosen = fewest_padding(lengths, number=buckets)
    return chosen if chosen[-1] == longest else (*chosen, longest)


def fewest_padding(lengths: np.ndarray, *, number: int) -> tuple[int, ...]:
    """Returns the rising lengths, at most `number`, which examples are padded to with the fewest tokens in all.

    Each length is that of some example, the last the greatest, and each is the bucket of at least a quarter of an even
    share of the examples, N / number. It is found by dynamic programming over the lengths that there are.

    Args:
      lengths: tokens in each example, [N], N at least 1.
      number: at least 1.
    """
    values, counts = np.unique(lengths, return_counts=True)
    shorter = np.concatenate([[0], np.cumsum(counts)])  # examples of less than each of the values
    # Tokens of a bucket for the values[start:end], by [end, start]; one that is too small is none.
    held = shorter[:, None] - shorter[None]
    enough = held >= max(1, _LEAST_SHARE * len(lengths) / number)
    tokens = np.where(enough, held * np.concatenate([[0], values])[:, None], np.inf)
    ends = np.arange(len(values) + 1)
    cost, starts = tokens[:, 0], []
    for _ in range(number - 1):
        with_one_more = cost[None] + tokens
        better = with_one_more.min(1) < cost
        # A last bucket without a value is no bucket.
        starts.append(np.where(better, with_one_more.argmin(1), ends))
        cost = np.where(better, with_one_more.min(1), cost)
    chosen = [len(values)]
    for start in reversed(starts):
        chosen.append(int(start[chosen[-1]]))
    return tuple(sorted({int(values[end - 1]) for end in chosen if end}))
