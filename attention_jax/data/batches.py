"""Batches for training (endless, shuffled, resumable) and for evaluation (once, in order)."""

from collections.abc import Iterator, Mapping
from typing import Any

import grain
import numpy as np

from attention_jax.data.dataset import Source
from attention_jax.kernels.errors import Refused


class Batches:
    """An endless iterator over a split, made by `train_batches`.

    The order is Grain's: a fresh seeded shuffle of the whole split for each epoch. The stream of examples is cut into
    batches without regard to the epochs' ends, so each example comes exactly once in every `len(source)` examples and
    none is dropped.
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
        self._source = source
        self._made_with = {"examples": len(source), "batch_size": batch_size, "seed": seed}
        # Grain shuffles epoch e with `seed + e`: unhashed, seed 1 would repeat the order of seed 0 one epoch later.
        hashed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._indices = grain.MapDataset.range(len(source)).shuffle(seed=hashed).repeat().batch(batch_size)
        self._next = 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns the next batch: named arrays, each [batch_size, ...]."""
        batch = self._source.gather(self._indices[self._next])
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """Returns the position (JSON-able), to be given to `set_state` of equally made batches."""
        return {"next_batch": self._next, **self._made_with}

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
        self._next = state["next_batch"]


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
