"""The losses of a run on Weights & Biases, beside `metrics.jsonl`, which is the truth: no error of it ends a run.

The environment says where they go, as everywhere: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE (offline needs no network),
WANDB_RUN_GROUP; a study sets the last to its name.
"""

import importlib.util
import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.training.run.workdir import write_atomically

_FILE = "wandb.json"
_PROJECT = "attention_jax"
# What is not sent by then stays in the folder, for `wandb sync`.
_PATIENCE_SECONDS = 60.0


def check_wandb() -> None:
    """Raises Refused where the package is not installed."""
    if importlib.util.find_spec("wandb") is None:
        raise Refused("log.wandb=True needs the package wandb, which is not here: pip install wandb")


class WandbRun:
    """One run there for one folder, however often it is killed: each line of `metrics.jsonl` is a row, sent once."""

    def __init__(self, workdir: Path, config: Mapping[str, Any], *, lines: int, say: Callable[[str], None]):
        """Begins the run, or goes on with it; where that cannot be, a line says so.

        Args:
          workdir: the folder of the run; it keeps the run's id and how many lines were sent.
          config: shown beside the losses.
          lines: how many lines the folder has, of which those after its checkpoint will be written again.
          say: takes a line.
        """
        self._say = say
        self._run: Any = None
        path = workdir / _FILE
        try:
            there: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"id": uuid.uuid4().hex}
            self._sent = max(there.get("lines", 0), lines)
            # Before any is dropped: after a second kill the folder may have fewer.
            write_atomically(path, json.dumps({**there, "lines": self._sent}) + "\n")
            self._run = _begin(workdir, dict(config), there["id"])
        except Exception as error:
            self._give_up(error)
        else:
            say(f"Weights & Biases: {self._run.url or self._run.dir}")

    def write(self, number: int, line: Mapping[str, Any]) -> None:
        """Sends a line of `metrics.jsonl`, unless it was sent before: the same line has the same number, from 1."""
        if self._run is None or number <= self._sent:
            return
        try:
            self._run.log(dict(line))
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        """Ends the run there, as failed where an exception is on its way, such as that of a signal."""
        if self._run is None:
            return
        try:
            self._run.finish(exit_code=0 if sys.exception() is None else 1)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        self._say(f"Weights & Biases takes no more lines ({reason}); metrics.jsonl has them all, and the run goes on")


def _begin(workdir: Path, config: dict[str, Any], number: str) -> Any:
    import wandb

    parts = workdir.resolve().parts
    # Of a cell of a study, whose folder is its seed, the rest too.
    place = len(parts) - 1 if "runs" not in parts[:-1] else len(parts) - parts[::-1].index("runs")
    settings = wandb.Settings(
        silent=True, console="off", x_disable_stats=True, x_disable_meta=True, finish_timeout=_PATIENCE_SECONDS
    )
    run = wandb.init(
        id=number,
        resume="allow",
        dir=str(workdir),
        config=config,
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        name="/".join(parts[place:]),
        job_type=os.environ.get("WANDB_JOB_TYPE", "train"),
        settings=settings,
    )
    # W&B's own step grows with each row; a step may have two, its loss and an evaluation after it.
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    return run
