"""The order of `launch.py reproduce`: one seed of everything, the cheapest first, then the next seed."""

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from attention_jax.study.engine.cells import Cell, ListSource, Result
from attention_jax.study.reproduction.rows import Attempt, Row
from attention_jax.study.reproduction.standing import Standing


@dataclass(frozen=True)
class Turn:
    """One seed of a row, or its whole sweep.

    Attributes:
      row: whose.
      cells: what is trained; none of a sweep, which makes its cells as it goes.
    """

    row: Row
    cells: tuple[Attempt, ...]


def turns(found: Sequence[Sequence[Standing]], *, asked: Collection[str], seeds: Sequence[int] | None) -> list[Turn]:
    """Returns what is to run, in its order.

    Args:
      found: where each row stands.
      asked: the names of rows that run whatever results there are.
      seeds: with which all of them run, in place of their own.
    """
    ordered: list[tuple[int, float, Turn]] = []
    for of_row in found:
        row = of_row[0].row
        again = row.name in asked
        if row.sweep is not None:
            if again or of_row[0].left:
                ordered.append((0, row.declared.core_minutes, Turn(row, ())))
            continue
        for place, seed in enumerate(row.seeds if seeds is None else seeds):
            cells = tuple(row.cell(one.entry, seed) for one in of_row if again or seed not in one.runs)
            if cells:
                ordered.append((place, row.declared.core_minutes, Turn(row, cells)))
    return [turn for _, _, turn in sorted(ordered, key=lambda one: one[:2])]


def stretches(ordered: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Yields runs of turns: many that train cells, or one sweep."""
    for is_sweep, group in itertools.groupby(ordered, key=lambda turn: turn.row.sweep is not None):
        of_one_kind = list(group)
        yield from ([turn] for turn in of_one_kind) if is_sweep else [of_one_kind]


class Queue(ListSource):
    """Cells that are handed out strictly in their order: an eager source would run all seeds of one program at once."""

    eager = False

    def __init__(self, ordered: Sequence[Turn], ended: Callable[[Attempt, Result, float], None]):
        """Begins with the first.

        Args:
          ordered: whose cells are run.
          ended: takes each cell with what became of it, and the seconds since it was handed out.
        """
        super().__init__(cell for turn in ordered for cell in turn.cells)
        self._ended, self._began = ended, dict[str, float]()

    def ask(self) -> Cell | None:
        """Returns the next of the list."""
        cell = super().ask()
        if cell is not None:
            self._began[cell.name] = time.monotonic()
        return cell

    def tell(self, cell: Cell, result: Result) -> None:
        """Hands on what became of a cell."""
        super().tell(cell, result)
        assert isinstance(cell, Attempt)
        self._ended(cell, result, time.monotonic() - self._began[cell.name])
