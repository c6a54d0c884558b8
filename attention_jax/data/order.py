"""Which examples make up a training batch: a function of its number and the seed alone."""

import functools

import numpy as np

from attention_jax.data.dataset import Source, SourceOfLengths


def groups(source: Source) -> list[np.ndarray]:
    """Returns the indices of the examples that may share a batch, shortest length first; most sources are one group."""
    if not isinstance(source, SourceOfLengths):
        return [np.arange(len(source))]
    # By row, since an example of several sequences has several lengths.
    lengths, group = np.unique(source.padded_lengths, axis=0, return_inverse=True)
    return [np.flatnonzero(group.ravel() == number) for number in range(len(lengths))]


def evaluation_order(source: Source) -> np.ndarray:
    """Returns the index in its split of each row that `evaluation_batches` gives, those that fill up left out, [N]."""
    return np.concatenate(groups(source))


def shape_examples(source: Source) -> tuple[int, ...]:
    """Returns an example of each shape that batches of the source have, shortest first.

    A program that is compiled ahead of time for `source.gather(np.full(batch_size, example))`, for each of them, serves
    every batch.
    """
    return tuple(int(group[0]) for group in groups(source))


class Order:
    """An endless order of batches, each from one group of examples, that can be entered at any number.

    Each group is an endless stream of its own: a fresh seeded permutation in each epoch, cut into batches without
    regard to the epochs' ends. So every example comes exactly once in every `len(group)` examples of its group, and
    what does not fill a batch at an epoch's end is completed by the next epoch: nothing is dropped or padded. An epoch
    has the batches that its groups have filled by its end, in a seeded random order.

    Args:
      members: the indices of the examples of each group; together 0 ... N - 1.
      batch_size: examples in a batch, at most the size of the smallest group.
      seed: fixes the order.
    """

    def __init__(self, members: list[np.ndarray], *, batch_size: int, seed: int):
        self._sizes = np.array([len(group) for group in members])
        self._batch_size = batch_size
        examples = int(self._sizes.sum())
        group_of = np.empty(examples, np.uint16)
        for group, indices in enumerate(members):
            group_of[indices] = group

        # Two epochs are in use at once: some groups begin one while others complete the one before.
        @functools.lru_cache(maxsize=2)
        def streams(epoch: int) -> list[np.ndarray]:
            order = np.random.default_rng([seed, epoch]).permutation(examples)
            return np.split(order[np.argsort(group_of[order], kind="stable")], np.cumsum(self._sizes)[:-1])

        @functools.lru_cache(maxsize=1)
        def schedule(epoch: int) -> tuple[np.ndarray, np.ndarray]:
            before = self._filled(epoch)
            counts = self._filled(epoch + 1) - before
            # A stream of its own: the permutations above have [seed, epoch].
            groups = np.random.default_rng([seed, epoch, 1]).permutation(np.repeat(np.arange(len(counts)), counts))
            numbers = np.empty_like(groups)
            rising = [start + np.arange(count) for start, count in zip(before, counts, strict=True)]
            numbers[np.argsort(groups, kind="stable")] = np.concatenate(rising)
            return groups, numbers

        self._streams, self._schedule = streams, schedule

    def __call__(self, number: int) -> np.ndarray:
        """Returns the indices of the examples of batch `number`, [batch_size]."""
        if len(self._sizes) == 1:
            return self._batch(0, number)
        # Groups fill at most as many batches by an epoch's end as one group of all examples would.
        epoch = number * self._batch_size // int(self._sizes.sum())
        while self._filled(epoch + 1).sum() <= number:
            epoch += 1
        groups, numbers = self._schedule(epoch)
        place = number - int(self._filled(epoch).sum())
        return self._batch(groups[place], numbers[place])

    def _batch(self, group: int, number: int) -> np.ndarray:
        epoch, place = divmod(number * self._batch_size, int(self._sizes[group]))
        found = self._streams(epoch)[group][place : place + self._batch_size]
        if len(found) == self._batch_size:
            return found
        # A batch is at most as large as its group.
        return np.concatenate([found, self._streams(epoch + 1)[group][: self._batch_size - len(found)]])

    def _filled(self, epoch: int) -> np.ndarray:
        """Returns how many batches each group has filled before the epoch."""
        return epoch * self._sizes // self._batch_size
