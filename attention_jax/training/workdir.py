"""The folder of a run: whose it is, its losses, its result. `metrics.jsonl` is the truth; TensorBoard is beside it."""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from attention_jax.kernels.errors import Refused


def write_atomically(path: Path, text: str) -> None:
    """Writes a file, and its folder, so that a reader or a restart after a kill sees all of it or what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def claim(workdir: Path, config: dict[str, Any]) -> None:
    """Makes the folder of a run, or checks that it is this run's.

    Args:
      workdir: the folder; `config.json` in it holds the config of the run.
      config: the whole config, of JSON values.

    Raises:
      Refused: the folder cannot be written, or it holds the run of another config.
    """
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, text)
            return
        there = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"its config.json is damaged ({error})"
        raise Refused(f"workdir {str(workdir)!r} cannot be used: {reason}. Give another --workdir.") from error
    changed = differences(there, json.loads(text))
    if changed:
        raise Refused(
            f"workdir {str(workdir)!r} holds the run of another config ({'; '.join(changed[:3])}"
            f"{' ...' if len(changed) > 3 else ''}): give another --workdir, or delete it to start over."
        )


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the folder of a run for this process; the kernel lets go of it when the process ends, however it ends.

    Raises:
      Refused: another process trains in it.
    """
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"workdir {str(workdir)!r} is in use by another training process: wait for it, or give another "
                "--workdir."
            ) from error
        yield


def differences(there: Any, here: Any, path: str = "") -> list[str]:
    """Returns where two configs differ, as "model.width is 64 there and 128 here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted({*there, *here})
        names = {key: f"{path}.{key}" if path else key for key in keys}
        return [
            line
            for key, name in names.items()
            for line in (
                differences(there[key], here[key], name)
                if key in there and key in here
                else [f"{name} is only {'there' if key in there else 'here'}"]
            )
        ]
    return [] if there == here else [f"{path} is {there!r} there and {here!r} here"]


class MetricsLog:
    """The losses of a run, a line a step that is recorded, in `metrics.jsonl` and as TensorBoard events.

    A line holds only what the config and the data determine, no times: a run that was killed and went on leaves the
    same bytes as one that was not.
    """

    def __init__(self, workdir: Path, *, after_step: int, tensorboard: bool):
        """Opens the log at a step; what was recorded after it is dropped, since it will be recorded again.

        Args:
          workdir: the folder of the run.
          after_step: the last step that stays.
          tensorboard: whether to write events too, into `tensorboard`.
        """
        self._path = workdir / "metrics.jsonl"
        self.lines = [line for line in read_lines(self._path) if line["step"] <= after_step]
        write_atomically(self._path, "".join(map(_dumped, self.lines)))
        self._file = self._path.open("a")
        self._events = None
        if tensorboard:
            self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=after_step + 1, flush_secs=30)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Records values at a step."""
        line = {"step": step, **values}
        self.lines.append(line)
        self._file.write(_dumped(line))
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a JSONL file; a last line that a kill cut short is left out."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _dumped(line: dict[str, Any]) -> str:
    finite = {
        key: value if not isinstance(value, float) or math.isfinite(value) else str(value)
        for key, value in line.items()
    }
    return json.dumps(finite) + "\n"
