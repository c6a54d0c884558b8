"""Batches for training (endless, shuffled, resumable) and for evaluation (once, in order)."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import grain
import numpy as np

from attention_jax.data.dataset import Source
from attention_jax.kernels.errors import Refused

_ENDLESS = 2**40  # batches


class Batches:
    """An endless iterator over a split, made by `train_batches`.

    Each epoch is a fresh seeded permutation of the whole split. The stream of examples is cut into batches without
    regard to the epochs' ends, so each example comes exactly once in every `len(source)` examples and none is dropped.
    Grain gathers ahead in a thread and keeps the position. The permutation is NumPy's: Grain's own shuffle draws one
    index at a time, which costs 10 to 50 microseconds an example (docs/decisions.md).
    """

    def __init__(self, source: Source, *, batch_size: int, seed: int):
        _check_batch_size(batch_size)
        if batch_size > len(source):
            raise Refused(
                f"batch_size {batch_size} is more than the {len(source)} examples of the split: "
                f"use at most {len(source)}."
            )
        if seed < 0:
            raise Refused(f"the seed of the order must be 0 or more, got {seed}.")
        self._made_with = {"examples": len(source), "batch_size": batch_size, "seed": seed}

        @functools.lru_cache(maxsize=2)
        def order(epoch: int) -> np.ndarray:
            return np.random.default_rng([seed, epoch]).permutation(len(source))

        def batch(number: int) -> dict[str, np.ndarray]:
            place = np.arange(number * batch_size, (number + 1) * batch_size)
            epochs, place = np.divmod(place, len(source))
            in_order = [order(int(epoch))[place[epochs == epoch]] for epoch in np.unique(epochs)]
            return source.gather(np.concatenate(in_order))

        ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        self._iterator = iter(grain.MapDataset.range(_ENDLESS).map(batch).to_iter_dataset(ahead))

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns the next batch: named arrays, each [batch_size, ...]."""
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """Returns the position (JSON-able), to be given to `set_state` of equally made batches."""
        return {**self._iterator.get_state(), **self._made_with}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Moves to the position `state`: the next batches are exactly those that would have come after it.

        Raises:
          Refused: the state is of other batches (another split length, batch size or seed).
        """
        for name, value in self._made_with.items():
            if state[name] != value:
                raise Refused(
                    f"the saved position of the data has {name} {state[name]}, this run has {value}: "
                    f"resume with {name} {state[name]}, or start anew."
                )
        self._iterator.set_state({key: value for key, value in state.items() if key not in self._made_with})


def train_batches(source: Source, *, batch_size: int, seed: int) -> Batches:
    """Returns endless batches of `batch_size` examples, in a fresh order each epoch.

    Args:
      source: the split.
      batch_size: examples in a batch, 1 to `len(source)`.
      seed: fixes the order; 0 or more.

    Raises:
      Refused: `batch_size` or `seed` is out of its range.
    """
    return Batches(source, batch_size=batch_size, seed=seed)


def evaluation_batches(source: Source, *, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Returns the whole split once, in order, in batches of exactly `batch_size` rows.

    The last batch is filled up with example 0. Each batch has one more field, valid bool [batch_size], which is False
    on those rows.

    Raises:
      Refused: `batch_size` is less than 1.
    """
    _check_batch_size(batch_size)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(source), batch_size):
            indices = np.arange(start, start + batch_size)
            valid = indices < len(source)
            yield {**source.gather(np.where(valid, indices, 0)), "valid": valid}

    return batches()


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise Refused(f"batch_size must be at least 1, got {batch_size}.")
