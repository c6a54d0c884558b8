"""Batches put on the devices before the step asks for them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from attention_jax.base.errors import Refused
from attention_jax.data.batches import Batches

Host = TypeVar("Host")
Placed = TypeVar("Placed")


def ahead(batches: Iterable[Host], put: Callable[[Host], Placed], *, depth: int = 2) -> Iterator[Placed]:
    """Returns what `put` makes of each batch, in order, `depth` batches before it is asked for.

    `put` is to return before the copy has been made, as `jax.device_put` does.

    Args:
      batches: what is put; it may end.
      put: a batch -> the batch on the devices.
      depth: how many batches wait, beside the one handed out; 0 puts each when it is asked for.

    Raises:
      Refused: `depth` is negative.
    """
    if depth < 0:
        raise Refused(f"depth of the prefetch must be 0 or more, got {depth}.")

    def placed() -> Iterator[Placed]:
        waiting: deque[Placed] = deque()
        for batch in batches:
            waiting.append(put(batch))
            if len(waiting) > depth:
                yield waiting.popleft()
        yield from waiting

    return placed()


class Ahead(Generic[Placed]):
    """Training batches through `ahead`, whose position is that of the batch handed out, and not of what waits."""

    def __init__(self, batches: Batches, put: Callable[[dict[str, Any]], Placed], *, depth: int = 2):
        """Starts where `batches` is; from here on they are read by this iterator alone.

        Args:
          batches: the batches.
          put: a batch -> the batch on the devices.
          depth: how many batches wait, beside the one handed out.

        Raises:
          Refused: `depth` is negative.
        """
        self._batches, self._put, self._depth = batches, put, depth
        self._state: dict[str, Any]
        self._placed: Iterator[tuple[Placed, dict[str, Any]]]
        self._start()

    def __iter__(self) -> Iterator[Placed]:
        return self

    def __next__(self) -> Placed:
        """Returns the next batch, on the devices."""
        batch, self._state = next(self._placed)
        return batch

    def get_state(self) -> dict[str, Any]:
        """Returns the position after the batch that was handed out last, as `Batches.get_state` gives it."""
        return self._state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Moves to a position and drops what waits: the next batches are those that would have come after it.

        Raises:
          Refused: the state is of other batches.
        """
        self._batches.set_state(state)
        self._start()

    def _start(self) -> None:
        self._state = self._batches.get_state()
        with_position = ((batch, self._batches.get_state()) for batch in self._batches)
        self._placed = ahead(with_position, lambda pair: (self._put(pair[0]), pair[1]), depth=self._depth)
