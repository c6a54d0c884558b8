"""What a comparison runs, and the folder of each run."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import folder_name


@dataclass(frozen=True)
class Trial:
    """One training run of a comparison."""

    benchmark: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.benchmark} / {self.variant} / seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Every benchmark with every variant and every seed; the first variant is the reference of the statistics.

    Raises:
      Refused: a list is empty or names something twice, or a name is too long for a folder.
    """

    benchmarks: tuple[str, ...]
    variants: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            entries = getattr(self, field.name)
            if not entries:
                raise Refused(f"the comparison has no {field.name}: name at least one.")
            for entry in entries:
                if entries.count(entry) > 1:
                    raise Refused(f"the comparison lists {entry!r} twice in its {field.name}: name it once.")
        for name in (*self.benchmarks, *self.variants):
            folder_name(name)

    @property
    def reference(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]

    def trials(self) -> Iterator[Trial]:
        """Yields every trial, in the order benchmark, variant, seed."""
        for benchmark in self.benchmarks:
            for variant in self.variants:
                for seed in self.seeds:
                    yield Trial(benchmark, variant, seed)


def run_name(trial: Trial, point: Mapping[str, Any] | None = None) -> str:
    """Returns what tells the run of `trial` from others, a relative path.

    Args:
      trial: what is run.
      point: the tuned keys with their values; None where it was not tuned.
    """
    tuned = [] if point is None else ["tuned", point_name(point)]
    return "/".join([folder_name(trial.benchmark), folder_name(trial.variant), *tuned, str(trial.seed)])


def run_folder(workdir: Path, trial: Trial, point: Mapping[str, Any] | None = None) -> Path:
    """Returns the folder that `trial` trains in; its arguments are those of `run_name`."""
    return workdir / "runs" / run_name(trial, point)


def point_name(point: Mapping[str, Any]) -> str:
    """Returns twelve hexadecimal digits that tell a point from others: many keys would be too long for a folder."""
    text = json.dumps(point, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
