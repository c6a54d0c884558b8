"""A study of trivial cells, to be killed: `python -m tests.study.storm WORKDIR CELLS WORKERS [STORAGE]`.

Each cell takes 100 steps, with a checkpoint every 20. Beside the store it leaves in finished.txt a line for each result
that the supervisor wrote down: the cell's name, and the seconds of its own work for a cell since the last.
"""

import sys
import time
from pathlib import Path

from attention_jax.study.engine import desk, run, store
from attention_jax.study.engine.cells import Cell, ListSource, Result


def cells(number: int) -> list[Cell]:
    """Returns so many cells of four programs' worth of names."""
    config = {"trainer": "tests.study.trivial:train", "steps": 100, "every": 20, "seconds": 0.001}
    return [Cell(name=f"storm/{seed}", config={**config, "seed": seed}) for seed in range(number)]


class Told(ListSource):
    """Writes down what it is told when it comes."""

    def __init__(self, all_of_them: list[Cell], path: Path):
        super().__init__(all_of_them)
        self._path, self._known = path, path.read_text().split() if path.exists() else []

    def tell(self, cell: Cell, result: Result) -> None:
        """Adds a line, but for what was finished before this supervisor began."""
        super().tell(cell, result)
        if cell.name not in self._known:
            with self._path.open("a") as file:
                print(cell.name, file=file)


def main(workdir: Path, number: int, workers: int, storage: str | None = None) -> int:
    """Runs the study to its end; waiting is made short, so that a test is."""
    # A server gives the cells of a supervisor that was killed to the next one once their leases have run out.
    store.LEASE_SECONDS = desk.LEASE_SECONDS = run.LEASE_SECONDS = 10.0
    began, spent = time.monotonic(), time.process_time()
    workdir.mkdir(parents=True, exist_ok=True)
    source = Told(cells(number), workdir / "finished.txt")
    results = run.run_cells(source, workdir, workers=workers, storage=storage, announce=lambda line: None)
    with (workdir / "times.txt").open("a") as file:
        print(time.monotonic() - began, time.process_time() - spent, file=file)
    return 0 if {result.status for result in results.values()} == {"done"} and len(results) == number else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
