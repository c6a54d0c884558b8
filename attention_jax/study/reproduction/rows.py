"""The rows of `launch.py reproduce`: found in the files that declare them, and what each of them trains."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax import data
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.python_file import load_python_file
from attention_jax.study.comparison.variation import PATCHES, Variation, configured, tuned
from attention_jax.study.engine.cells import Cell, cell_name
from attention_jax.study.reproduction.declaration import Expected, Reproduction
from attention_jax.study.sweep.plan import Sweep
from attention_jax.study.sweep.run import read_sweep
from attention_jax.training import config

DECLARED = "RESULTS"


@dataclass(frozen=True)
class Attempt(Cell):
    """A cell of a row. Raised, the version of its row makes it another cell, though its config is the same.

    Attributes:
      key: what stands for it in the store.
    """

    key: str = ""

    @property
    def identity(self) -> str:
        """The SHA-256 of the row's name and version, and of the config as its file has it and as it is trained."""
        return self.key


@dataclass(frozen=True)
class Entry:
    """What of a row has a score of its own: the experiment, or a variant on a benchmark.

    Attributes:
      parts: () of an experiment or a sweep, else benchmark and variant.
      written: the SHA-256 of the config as its file has it, whatever the defaults of other keys are.
      config_of: seed -> the whole config that is trained.
    """

    parts: tuple[str, ...]
    written: str
    config_of: Callable[[int], dict[str, Any]]

    @property
    def label(self) -> str:
        """Its name within the row."""
        return " / ".join(self.parts)


@dataclass(frozen=True)
class Row:
    """A declared result.

    Attributes:
      name: tells it from the others.
      declared: what its file says of it.
      entries: what of it has a score.
      sweep: what is searched, where it is a sweep.
    """

    name: str
    declared: Reproduction
    entries: tuple[Entry, ...]
    sweep: Sweep | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """With which each entry is trained."""
        return self.declared.seeds if self.sweep is None else tuple(self.sweep.seeds)

    def expected(self, entry: Entry) -> Expected | None:
        """Returns the score that an entry should have; None where none is declared."""
        return self.declared.expectations.get(entry.label)

    def cell(self, entry: Entry, seed: int) -> Attempt:
        """Returns the cell that trains an entry with a seed."""
        sections = entry.config_of(seed)
        key = _digest([self.name, entry.parts, self.declared.version, entry.written, Cell("any", sections).identity])
        return Attempt(
            name=cell_name(self.name, *entry.parts, f"{key[:12]}-seed-{seed}"),
            config=sections,
            labels={"row": self.name, "entry": entry.label, "seed": seed},
            title=" / ".join((self.name, *entry.parts, f"seed {seed}")),
            key=key,
        )

    def data_sets(self) -> list[dict[str, Any]]:
        """Returns the section `data` of each of its configs, each once."""
        found = [entry.config_of(self.seeds[0]).get("data", {}) for entry in self.entries]
        return [section for place, section in enumerate(found) if section not in found[:place]]

    def check_data(self) -> None:
        """Checks that the data lie prepared, without reading them.

        Raises:
          Refused: some do not; it says where they come from.
        """
        try:
            for section in self.data_sets():
                data.check_prepared(section)
        except Refused as refusal:
            raise Refused(f"{self.name}: {refusal}") from None


def find_rows(experiments: Path, files: Iterable[str] = ()) -> list[Row]:
    """Returns the rows that the files of a folder declare, and those of single files, in the order of their paths.

    Args:
      experiments: the folder.
      files: paths of config files outside of it.

    Raises:
      Refused: there is no such folder or file, a declaration cannot be used, or two rows have one name.
    """
    if not experiments.is_dir():
        raise Refused(f"there is no folder {str(experiments)!r} of experiments: give --experiments=DIR.")
    paths = sorted(experiments.rglob("*.py"))
    for file in map(Path, files):
        if not file.is_file():
            raise Refused(f"there is no config file {str(file)!r}.{did_you_mean(str(file), map(str, paths))}")
        if not any(file.samefile(path) for path in paths):
            paths.append(file)
    rows: dict[str, Row] = {}
    for path in paths:
        for declared in declarations(path):
            row = _row(path, declared)
            if row.name in rows:
                raise Refused(f"{path} declares the row {row.name!r}, which there is already: give it another name.")
            rows[row.name] = row
    return list(rows.values())


def declarations(path: Path) -> Sequence[Reproduction]:
    """Returns what a config file declares of its results; nothing where it declares none.

    Raises:
      Refused: it is not a tuple of `Reproduction`.
    """
    module = load_python_file(path, kind="config file", module=f"results_{path.stem}")
    declared = getattr(module, DECLARED, ())
    if not isinstance(declared, tuple) or not all(isinstance(one, Reproduction) for one in declared):
        raise Refused(f"{path}: {DECLARED} is {declared!r}: give a tuple of Reproduction(...).")
    return declared


def name_of(path: Path, declared: Reproduction) -> str:
    """Returns the name of the row that a file declares."""
    return declared.name or "_".join(filter(None, (path.stem, declared.argument)))


def _row(path: Path, declared: Reproduction) -> Row:
    name = name_of(path, declared)
    spec = f"{path}:{declared.argument}" if declared.argument else str(path)
    raw = config.read(spec)
    if config.is_comparison(raw):
        row = Row(name, declared, _of_comparison(raw, spec, declared))
    elif any(key in raw for key in config.OF_SWEEP):
        sweep = read_sweep(raw, {}, owner=spec, space=None, given={})
        if not (sweep.best and sweep.fresh_seeds):
            raise Refused(f"{spec}: the result of a sweep is that of its best on fresh seeds: set sweep.best to 1.")
        row = Row(name, declared, (Entry((), _written(raw), partial(_with_seed, sweep.base.config())),), sweep)
    else:
        sections = config.plain(config.load(spec))
        row = Row(name, declared, (Entry((), _written(raw), partial(_with_seed, sections)),))
    if declared.control is not None and not config.is_comparison(raw):
        raise Refused(f"{spec}: control={declared.control!r} is of a comparison: give floor=Figure(...).")
    if declared.also and not config.is_comparison(raw):
        raise Refused(f"{spec}: also={declared.also} are columns of a comparison: leave them out.")
    labels = [entry.label for entry in row.entries]
    for label in declared.expectations:
        if label not in labels:
            raise Refused(f"{spec}: a score is expected of {label!r}, which it does not train.{_near(label, labels)}")
    return row


def _of_comparison(raw: ConfigDict, spec: str, result: Reproduction) -> tuple[Entry, ...]:
    """A patch is an entry by its name alone: what it sets is in the digest, and too long for a table."""
    parts = {name: raw.benchmarks[name].to_dict() for name in raw.benchmarks}
    full = config.load(spec)
    benchmarks, (key, chosen) = dict(full.benchmarks.items()), configured(full)
    names = {choice.label: choice.name if key == PATCHES else choice.label for choice in chosen}
    variation = Variation(key, chosen, benchmarks, tuned(full.get("tuned", ()), benchmarks, names))
    if result.control is not None and result.control not in names.values():
        raise Refused(f"{spec}: control={result.control!r} is none of {', '.join(names.values())}.")
    config_of = variation.config_of

    def own(benchmark: str, label: str) -> list[Mapping[str, str]]:
        return [variation.tuned[benchmark, label]] if (benchmark, label) in variation.tuned else []

    return tuple(
        Entry((benchmark, name), _digest([part, label, *own(benchmark, label)]), partial(config_of, benchmark, label))
        for benchmark, part in parts.items()
        for label, name in names.items()
    )


def _with_seed(sections: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**sections, "seed": seed}


def _written(raw: ConfigDict) -> str:
    return _digest({key: value for key, value in raw.to_dict().items() if key != "seed"})


def _near(label: str, labels: list[str]) -> str:
    return did_you_mean(label, labels) if any(labels) else " It has one score: give Expected(...) alone."


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
