"""The cells that wait for a worker, and which of them a worker is handed."""

from collections.abc import Collection

from attention_jax.study.engine.cells import Cell


class Backlog:
    """Cells in their order; those that went back come first."""

    def __init__(self) -> None:
        self._cells: list[Cell] = []

    def __len__(self) -> int:
        return len(self._cells)

    def add(self, cell: Cell) -> None:
        """Puts a cell at the end."""
        self._cells.append(cell)

    def put_back(self, cell: Cell) -> None:
        """Puts a cell at the beginning."""
        self._cells.insert(0, cell)

    def take(self, mine: Collection[str], others: Collection[str]) -> Cell | None:
        """Takes the cell that costs a worker the least; None where there is none.

        Args:
          mine: the programs that the worker has in memory: a cell of one of them comes first.
          others: the programs that other workers have: their cells come last, since each of them would have to be
            loaded here while it is at hand there.
        """
        if not self._cells:
            return None
        found = next((place for place, cell in enumerate(self._cells) if cell.program in mine), None)
        if found is None:
            found = next((place for place, cell in enumerate(self._cells) if cell.program not in others), 0)
        return self._cells.pop(found)

    def take_of(self, program: str) -> Cell | None:
        """Takes the first cell of a program; None where there is none."""
        found = next((place for place, cell in enumerate(self._cells) if cell.program == program), None)
        return None if found is None else self._cells.pop(found)

    def take_program(self, program: str) -> list[Cell]:
        """Takes every cell of a program."""
        taken = [cell for cell in self._cells if cell.program == program]
        self._cells = [cell for cell in self._cells if cell.program != program]
        return taken
