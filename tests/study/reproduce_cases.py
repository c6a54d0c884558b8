"""Rows of `launch.py reproduce` whose runs are the stand-in trainer's, and their lines."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from attention_jax.study.engine.cells import Result
from attention_jax.study.reproduction.declaration import Expected, Reproduction
from attention_jax.study.reproduction.lines import Line, line_of
from attention_jax.study.reproduction.rows import Entry, Row
from attention_jax.study.reproduction.run import Places, Reproducer

# The mean over the seeds 0, 1 and 2, of which the stand-in makes 0, 0.25 and 0.5.
MEAN = 0.25


def config_of(sections: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns the config of a run of the stand-in."""
    return {"trainer": "tests.study.trivial:train", "steps": 20, **sections, "seed": seed}


def make_row(name: str = "one", core_minutes: float = 1.0, *, written: str = "w", **declared: Any) -> Row:
    """Returns a row of one experiment; `sections` of its config and what it declares beside."""
    sections = declared.pop("sections", {})
    fields = {"system": f"system {name}", "data": "none", "expected": Expected(MEAN, 0.1), **declared}
    entry = Entry((), written, partial(config_of, {"row": name, **sections}))
    return Row(name, Reproduction(core_minutes=core_minutes, **fields), (entry,))


def make_comparison(**declared: Any) -> Row:
    """Returns a row of two benchmarks with two variants."""
    labels = [(benchmark, variant) for benchmark in ("recall", "copy") for variant in ("a", "none")]
    entries = [Entry(parts, "w", partial(config_of, {"parts": list(parts)})) for parts in labels]
    fields = {"system": "two variants", "data": "none", "control": "none", "metric": "test_accuracy", **declared}
    return Row("pair", Reproduction(core_minutes=4.0, **fields), tuple(entries))


def make_line(row: Row, seed: int = 0, score: float = MEAN, *, place: int = 0, **changed: Any) -> Line:
    """Returns the line of a run that is done."""
    entry = row.entries[place]
    metric = row.declared.metric or "test_loss"
    outcome = {"metric": metric, "score": score, "steps": 20, "train_seconds": 60.0}
    what = {"row": row.name, "entry": entry.label, "version": row.declared.version, "written": entry.written}
    fixed = {"commit": "abc", "versions": {"jax": "0.10.1"}, "machine": {"cpu": "a CPU, 2 cores", "device": "cpu"}}
    line = line_of(
        Result("done", None, outcome), Path("none"), seconds=90.0, seed=seed, config=entry.config_of(seed), **what
    )
    return Line(**{**vars(line), **fixed, **changed})


def reproducer(rows: list[Row], folder: Path, **options: Any) -> Reproducer:
    """Returns what runs rows in a folder, its results beside its runs."""
    where = Places(folder / "runs", folder / "results")
    return Reproducer(rows, where, **{"workers": 1, "retry": None, **options})


def slow_rows() -> list[Row]:
    """Returns two rows whose runs take seconds, to be killed in."""
    return [
        make_row(name, cost, sections={"steps": 60, "every": 5, "seconds": 0.02}, seeds=(0, 1))
        for name, cost in (("dear", 2.0), ("cheap", 1.0))
    ]


if __name__ == "__main__":
    reproducer(slow_rows(), Path(sys.argv[1])).run(slow_rows(), asked=(), seeds=None)
