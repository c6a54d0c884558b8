"""What is measured: a computation in a process, as a value that goes to a worker as JSON."""

import importlib
import os
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

Process = Literal["one_device", "all_cores", "torch"]
Kind = Literal["attention", "step", "decode"]
Quantity = Literal["run", "step", "compile", "temporary", "total", "peak", "loop", "input"]

# The key that a line of samples.jsonl has its number under.
UNITS: dict[Quantity, str] = {
    "run": "milliseconds",
    "step": "milliseconds",
    "compile": "milliseconds",
    "loop": "milliseconds",
    "input": "milliseconds",
    "temporary": "bytes",
    "total": "bytes",
    "peak": "bytes",
}
EXTRA = "pip install -r requirements-bench.txt"


class LeftOut(Exception):
    """A case that cannot be measured here; the message says why."""


class Measured(Protocol):
    """What a worker can be asked to measure: frozen, and made of JSON again by its own class."""

    kind: ClassVar[Kind]

    @property
    def process(self) -> Process:
        """Where it runs."""

    @property
    def quantity(self) -> Quantity:
        """What a sample is."""

    @property
    def shape(self) -> dict[str, Any]:
        """What every line says of its sizes."""

    def to_json(self) -> dict[str, Any]:
        """Returns the values that the class makes it of again."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One computation of attention in float32, with as many keys and key heads as queries and query heads.

    Attributes:
      who: whose, by its name in `jax_side.CONTESTANTS` or "torch".
      process: where it runs: with one XLA device; with one for each core and the heads sharded over them; in PyTorch
        with a thread for each core.
      quantity: what a sample is: the time of a call; that of its last token alone, the others in a cache; the time to
        compile it; the bytes that the compiled program needs beside its arguments and results, or with them; the
        largest memory of a process that ran it once.
      backward: whether the gradients with respect to query, key and value are computed too.
      causal: whether a query sees the keys up to itself, or all.
      window: how many of them it sees, where not all.
      padded: whether sequences are of different lengths: b of B lacks its last b T / 2B keys.
      variant: a spec of this library.
      engine: an engine of this library, or None for the one that it takes.
      batch: B.
      tokens: T, queries and keys.
      heads: N.
      width: H.
      compared: which tokens its result is compared in: 0 all, n > 0 the first n, -1 the last.
    """

    kind: ClassVar[Kind] = "attention"

    who: str
    process: Process
    quantity: Quantity = "run"
    backward: bool = False
    causal: bool = True
    window: int | None = None
    padded: bool = False
    variant: str = "scaled_dot"
    engine: str | None = None
    batch: int
    tokens: int
    heads: int
    width: int
    compared: int = 0

    @property
    def shape(self) -> dict[str, int]:
        """The sizes by the letters of the field."""
        queries = 1 if self.quantity == "step" else self.tokens
        return {"B": self.batch, "T": queries, "S": self.tokens, "N": self.heads, "H": self.width}

    @property
    def lengths(self) -> tuple[int, ...]:
        """The keys of each sequence that are no padding."""
        return tuple(
            self.tokens - self.padded * number * self.tokens // (2 * self.batch) for number in range(self.batch)
        )

    @property
    def array_bytes(self) -> int:
        """The bytes of query, key, value, out and their gradients."""
        return 8 * 4 * self.batch * self.tokens * self.heads * self.width

    def to_json(self) -> dict[str, Any]:
        """Returns the values that `Case(**values)` makes it of again."""
        return asdict(self)


def arrays(case: Case) -> list[np.ndarray]:
    """Returns query, key, value and the gradient of out, normal numbers, each [B, T, N, H].

    The first tokens are the same numbers however many follow.
    """
    shape = (case.tokens, case.batch, case.heads, case.width)
    drawn = (np.random.default_rng((0, index)).standard_normal(shape, np.float32) for index in range(4))
    return [np.ascontiguousarray(array.swapaxes(0, 1)) for array in drawn]


def compared_part(array: np.ndarray, compared: int) -> np.ndarray:
    """Returns the tokens [B, t, N, H] that a result is compared in, `compared` as of a `Case`."""
    return array[:, -1:] if compared < 0 else array[:, : compared or None]


def digest(results: list[np.ndarray], compared: int, *, most: int = 4096) -> list[list[float]]:
    """Returns of each result up to `most` numbers, drawn from the tokens that are compared, to compare it by."""
    rng = np.random.default_rng(0)
    flat = [compared_part(result, compared).ravel() for result in results]
    return [part[rng.integers(0, part.size, min(most, part.size))].astype(float).tolist() for part in flat]


def imported(name: str) -> ModuleType:
    """Returns a peer's module.

    Raises:
      LeftOut: it is not installed, or not for this Python and JAX.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        raise LeftOut(f"{name} cannot be imported ({error}): {EXTRA}") from error


def free_bytes() -> int:
    """Returns the memory that is free, or all of it where the system does not say."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            sizes = dict(line.split(":", 1) for line in lines)
    except FileNotFoundError:
        return page * os.sysconf("SC_PHYS_PAGES")
    return 1024 * int(sizes["MemAvailable"].split()[0])
