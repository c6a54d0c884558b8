"""Where a study is, asked from anywhere: it reads what the supervisor leaves in the folder, and disturbs nothing."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import readable_seconds
from attention_jax.study.engine.account import STATUS_FILE
from attention_jax.study.engine.display import AtWork, Standing
from attention_jax.study.engine.store import FILE, NAME_FILE, Row, read_rows, storage_url

# A supervisor writes every second, but for the time that a worker of its own process compiles.
_SILENT_SECONDS = 60.0


def print_status(workdir: Path, storage: str | None = None) -> None:
    """Prints the total, each worker's cell, and what failed with its log.

    Args:
      workdir: the folder of the study.
      storage: the URL of its database, where it is no file of the folder; all of its supervisors are seen there.

    Raises:
      Refused: the folder holds no study, or the storage does not answer.
    """
    told = _told(workdir)
    at_work = [AtWork(**worker) for worker in told["workers"]]
    age = time.time() - told["time"]
    counts, cells = told["counts"], told["cells"]
    failed: list[str] = []
    rows = _rows(workdir, storage)
    if rows:
        counts = Counter(row.status for row in rows if row.result is not None)
        cells = cells and len(rows)
        failed = [
            f"{row.status}: {row.title}: {row.result.reason} (log: {workdir / row.result.facts.get('log', 'none')})"
            for row in rows
            if row.result is not None and row.status == "failed"
        ]
    runs = not told["ended"] and age < _SILENT_SECONDS
    print(Standing(dict(counts), cells, at_work, told["seconds_left"] if runs else None).total())
    for worker in at_work if runs and storage is None else ():
        print(f"worker {worker.worker}  {worker}")
    for row in rows if storage is not None else ():
        if row.status == "running":
            print(f"{(row.owner or '').rpartition(':')[0]}  {row.title}")
    for line in failed:
        print(line)
    print(_life(told, age))


def _rows(workdir: Path, storage: str | None) -> list[Row]:
    """Returns the cells that the storage has; none where it is a file of the folder that is not there."""
    if storage is None:
        return read_rows(storage_url(workdir, None)) if (workdir / FILE).exists() else []
    if storage.startswith("sqlite"):
        return read_rows(storage)
    name = workdir / NAME_FILE
    if not name.exists():
        raise Refused(f"workdir {str(workdir)!r} holds no study of a server's storage: leave out --storage.")
    return read_rows(storage, study=name.read_text().strip())


def _told(workdir: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((workdir / STATUS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"workdir {str(workdir)!r} holds no study: give the --workdir of a comparison.") from error
    return told


def _life(told: dict[str, Any], age: float) -> str:
    """Returns whether the study runs, in words."""
    if told["ended"]:
        return f"it does not run: its process ended {readable_seconds(age)} ago; the same command goes on with the rest"
    if age < _SILENT_SECONDS:
        return f"it runs (process {told['pid']}, heard of {readable_seconds(age)} ago)"
    return f"its process {told['pid']} was last heard of {readable_seconds(age)} ago; the same command goes on"
