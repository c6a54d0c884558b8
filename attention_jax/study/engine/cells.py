"""What a study is made of: cells, each a config to train, and the source that they come from.

A grid is a list of cells. A search makes its next cell of what it was told of those before. The supervisor asks either
for cells, trains them in its workers, and tells what became of them; whoever writes a source need not know how.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, unquote

from attention_jax.base.errors import Refused
from attention_jax.training.run.workdir import PLACEMENT, computed

_LONGEST_NAME = 255  # bytes of one path component on every common file system
Status = Literal["done", "refused", "failed", "pruned"]
# Facts of a result that are sums, of the tries of its program too.
COUNTS = ("compilations", "cache_hits", "cache_refused")


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
      name: tells it from the others of the study, and is its folder under `runs`: parts that `cell_name` joined.
      config: what `Experiment(**config)` takes, plain dicts and JSON values, the seed among them. With the key
        "trainer", such as "tests.study.trivial:train", that function trains in place of ours: see `study.worker`.
      labels: what the study calls it, such as {"variant": "linear", "seed": 0}; no part of its identity.
      title: how a line names it; where left out, the parts of the name.
      tested: whether it is scored on the test split, where there is one; what a search trains is not.
    """

    name: str
    config: dict[str, Any] = field(hash=False)
    labels: dict[str, Any] = field(hash=False, default_factory=dict)
    title: str = ""
    tested: bool = True

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", " / ".join(map(unquote, self.name.split("/"))))

    @cached_property
    def identity(self) -> str:
        """The SHA-256 of the config, but for the keys that say where it is computed or shown, and not what."""
        return _digest(self.config, without=PLACEMENT)

    @cached_property
    def program(self) -> str:
        """The SHA-256 of all of the config that may change what is compiled for it."""
        return _digest(program_and_run(self.config)[0])

    def folder(self, workdir: Path) -> Path:
        """Returns the folder that it trains in."""
        return workdir / "runs" / self.name


def program_and_run(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a config into what is compiled and what a program is handed when it runs.

    Returns:
      The config without them, and the `seed` and the `learning_rate` of the run, as far as the config has them: cells
      that differ in nothing else share what is compiled.
    """
    program, run = dict(config), {}
    if "seed" in program:
        run["seed"] = program.pop("seed")
    optimizer = program.get("optimizer")
    if isinstance(optimizer, Mapping) and "learning_rate" in optimizer:
        run["learning_rate"] = optimizer["learning_rate"]
        program["optimizer"] = {key: value for key, value in optimizer.items() if key != "learning_rate"}
    return program, run


def folder_name(spec: str) -> str:
    """Returns a name for a folder that is `spec` where it can be, with every other character percent-encoded.

    "performer:features=64" becomes "performer%3Afeatures=64". Two specs never share a name:
    `urllib.parse.unquote` gives the spec back.

    Raises:
      Refused: `spec` is empty, or its name would be longer than a file system allows.
    """
    name = quote(spec, safe="=,+@")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not 0 < len(name) <= _LONGEST_NAME:
        raise Refused(
            f"{spec!r} cannot name a folder: it takes {len(name)} characters and 1 to {_LONGEST_NAME} are possible. "
            "Use a shorter spec."
        )
    return name


def cell_name(*parts: str) -> str:
    """Returns the name of a cell, a relative path that `folder_name` makes of each part.

    Raises:
      Refused: a part is empty or too long.
    """
    return "/".join(map(folder_name, parts))


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes:
      status: `done`; `pruned` by its source; `refused` since its config cannot be; `failed` for another reason.
      reason: one line on why it is not done; None where it is.
      outcome: the fields of `training.outcome.Outcome` where it is done; of a pruned one `metric`, `score` and `steps`
        at the evaluation that it was pruned by; empty else.
      facts: where and how it was computed: `versions` (package -> version), `device` and how many `devices`,
        `xla_level` (of optimisation, in words), the programs that XLA compiled in the process while it ran, loaded from
        the cache, and found there but could not load (`COUNTS`), `log` (the path of what it printed, relative to the
        workdir), `beside` (how many other workers of the study could train at the same time).
    """

    status: Status
    reason: str | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """The value of the metric that decides; None where there is none."""
        return self.outcome.get("score")


class Source(Protocol):
    """Where a supervisor gets its cells. It calls from one thread, one method at a time.

    A study that is continued asks again from the beginning: a cell that the store has a result of is told it at once,
    so that a source that is as deterministic as its seed comes to where it was.

    Attributes:
      eager: whether all cells may be asked for before the first has run; a source that learns from results says False.
      prunes: whether `wants` ever says False; a cell waits for its answer at each evaluation if so.
    """

    eager: bool
    prunes: bool

    def ask(self) -> Cell | None:
        """Returns the next cell to run; None when there is none now, which may change with what is told."""

    def tell(self, cell: Cell, result: Result) -> None:
        """Takes what became of a cell that was asked for; called once for each."""

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        """Returns whether a cell is to go on after an evaluation; False prunes it.

        Args:
          cell: the cell.
          step: updates done. A cell that was killed goes on from its checkpoint and may report a step again.
          value: of the task's metric on the validation split.
        """

    @property
    def exhausted(self) -> bool:
        """Whether no cell will come any more, whatever is told."""


class ListSource:
    """Cells that are known from the start, in their order, each once.

    Raises:
      Refused: two cells share a name or a config.
    """

    eager, prunes = True, False

    def __init__(self, cells: Iterable[Cell]):
        self.cells = list(cells)
        check_distinct(self.cells)
        self.results: dict[str, Result] = {}
        self._waiting = deque(self.cells)

    def ask(self) -> Cell | None:
        """Returns the next of the list."""
        return self._waiting.popleft() if self._waiting else None

    def tell(self, cell: Cell, result: Result) -> None:
        """Keeps the result in `results`, by the cell's name."""
        self.results[cell.name] = result

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        """Returns True: every cell runs to its end."""
        return True

    @property
    def exhausted(self) -> bool:
        """Whether each was asked for."""
        return not self._waiting


def check_distinct(cells: Iterable[Cell]) -> None:
    """Raises Refused where two cells share a name or a config."""
    names: dict[str, Cell] = {}
    for cell in cells:
        # Two of one config would train in two folders, but the store knows one of them.
        for key in (f"name {cell.name}", f"config {cell.identity}"):
            if key in names:
                raise Refused(f"the study has {cell.title!r} and {names[key].title!r}, which are one: name one.")
            names[key] = cell


def _digest(config: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> str:
    kept = {key: value for key, value in computed(config).items() if key not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
