"""Where a study is, asked from anywhere: it reads what the supervisor leaves in the folder, and disturbs nothing."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attention_jax.kernels.errors import Refused
from attention_jax.study.account import STATUS_FILE
from attention_jax.study.display import AtWork, Standing
from attention_jax.study.store import FILE, read_rows, storage_url
from attention_jax.training.progress import readable_seconds

# A supervisor writes every second, but for the time that a worker of its own process compiles.
_SILENT_SECONDS = 60.0


def print_status(workdir: Path) -> None:
    """Prints the total, each worker's cell, and what failed with its log.

    Raises:
      Refused: the folder holds no study.
    """
    told = _told(workdir)
    at_work = [AtWork(**worker) for worker in told["workers"]]
    age = time.time() - told["time"]
    counts, cells = told["counts"], told["cells"]
    failed: list[str] = []
    if (workdir / FILE).exists():
        rows = read_rows(storage_url(workdir, None))
        counts = Counter(row.status for row in rows if row.result is not None)
        cells = cells and len(rows)
        failed = [
            f"{row.status}: {row.title}: {row.result.reason} (log: {workdir / row.result.facts.get('log', 'none')})"
            for row in rows
            if row.result is not None and row.status == "failed"
        ]
    runs = not told["ended"] and age < _SILENT_SECONDS
    print(Standing(dict(counts), cells, at_work, told["seconds_left"] if runs else None).total())
    for worker in at_work if runs else ():
        print(f"worker {worker.worker}  {worker}")
    for line in failed:
        print(line)
    print(_life(told, age))


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
