"""Batches for training (endless, shuffled, resumable) and for evaluation (once, in order)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Source
from attention_jax.data.order import Order, groups


class Batches:
    """An endless iterator over a split, made by `train_batches`.

    Each epoch is a fresh seeded permutation of the whole split. The stream of examples is cut into batches without
    regard to the epochs' ends, so each example comes exactly once in every `len(source)` examples and none is dropped.
    Where examples have lengths, each batch is of one length, and this holds for the examples of each length: see
    `Order`. A batch is a function of its number, so the position is that number. It is gathered when it is asked for,
    while the devices are at work on the step before: a thread that reads ahead costs more than it saves
    (docs/decisions.md).
    """

    def __init__(self, source: Source, *, batch_size: int, seed: int, rows: slice | None = None):
        rows = _checked_rows(rows, batch_size)
        members = groups(source)
        _check_groups(members, batch_size)
        if seed < 0:
            raise Refused(f"the seed of the order must be 0 or more, got {seed}.")
        # Not the rows: the position is that of the whole batch, for any number of processes to go on from.
        self._made_with = {
            "examples": len(source),
            "examples_by_length": [len(group) for group in members] if len(members) > 1 else None,
            "batch_size": batch_size,
            "seed": seed,
        }
        self._source, self._rows = source, rows
        self._order = Order(members, batch_size=batch_size, seed=seed)
        self._next = 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns the next batch, or its rows: named arrays, each [rows, ...]."""
        batch = self._source.gather(self._order(self._next)[self._rows])
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """Returns the position (JSON-able), to be given to `set_state` of equally made batches, of any rows."""
        return {"next_index": self._next, **self._made_with}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Moves to the position `state`: the next batches are exactly those that would have come after it.

        Raises:
          Refused: the state is of other batches (another split, batch size or seed).
        """
        for name, value in self._made_with.items():
            saved = state.get(name)
            if saved != value:
                raise Refused(
                    f"the saved position of the data has {name} {saved}, this run has {value}: "
                    f"resume with {name} {saved}, or start anew."
                )
        self._next = int(state["next_index"])


def train_batches(source: Source, *, batch_size: int, seed: int, rows: slice | None = None) -> Batches:
    """Returns endless batches of `batch_size` examples, in a fresh order each epoch.

    Args:
      source: the split.
      batch_size: examples in a batch, 1 to `len(source)`; where examples have lengths, to the fewest of one length.
      seed: fixes the order; 0 or more.
      rows: which rows of each batch to read, such as slice(0, 8): the processes of a run read a part each, and their
        parts together are exactly the batch. None reads all.

    Raises:
      Refused: `batch_size`, `seed` or `rows` is out of its range.
    """
    return Batches(source, batch_size=batch_size, seed=seed, rows=rows)


def evaluation_batches(
    source: Source, *, batch_size: int, rows: slice | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Returns the whole split once, in order, in batches of exactly `batch_size` rows.

    The last batch is filled up with the first example. Each batch has one more field, valid bool [batch_size], which is
    False on those rows. Where examples have lengths, this holds for the examples of each length, shortest first.

    Args:
      source: the split.
      batch_size: rows in a batch.
      rows: which of them to read, as for `train_batches`.

    Raises:
      Refused: `batch_size` is less than 1, or `rows` is not within it.
    """
    rows = _checked_rows(rows, batch_size)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for members in groups(source):
            for start in range(0, len(members), batch_size):
                places = np.arange(start, start + batch_size)[rows]
                valid = places < len(members)
                yield {**source.gather(members[np.where(valid, places, 0)]), "valid": valid}

    return batches()


def _checked_rows(rows: slice | None, batch_size: int) -> slice:
    if batch_size < 1:
        raise Refused(f"batch_size must be at least 1, got {batch_size}.")
    if rows is None:
        return slice(0, batch_size)
    if rows.step not in (None, 1) or not 0 <= (rows.start or 0) < (batch_size if rows.stop is None else rows.stop):
        raise Refused(f"{rows} are not rows of a batch that follow one another: give such as slice(0, {batch_size}).")
    if rows.stop is not None and rows.stop > batch_size:
        raise Refused(f"{rows} goes past the end of a batch of {batch_size}: give at most slice(0, {batch_size}).")
    return rows


def _check_groups(members: list[np.ndarray], batch_size: int) -> None:
    smallest = min(members, key=len)
    if batch_size <= len(smallest):
        return
    where = "of the split" if len(members) == 1 else f"like example {smallest[0]} in length, the fewest of one length"
    raise Refused(
        f"batch_size {batch_size} is more than the {len(smallest)} examples {where}: use at most {len(smallest)}."
    )
