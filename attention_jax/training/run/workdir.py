"""The folder of a run: whose it is, its losses, its result. `metrics.jsonl` is the truth; TensorBoard is beside it."""

import errno
import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from attention_jax.base.errors import Refused
from attention_jax.training.run.events import EventFile
from attention_jax.training.run.outcome import RunFailed

if TYPE_CHECKING:
    from attention_jax.training.run.wandb_run import WandbRun

# The keys of a config that say where the run is computed, and not what.
PLACEMENT = ("attention_parallel", "mesh", "parameter_rules")
# Those of its section `log` that say where losses are shown beside `metrics.jsonl`.
SHOWN = ("tensorboard", "wandb")


def computed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config, of a run or of a comparison, without the keys that say where its losses are shown."""
    kept = dict(config)
    if isinstance(kept.get("log"), Mapping):
        kept["log"] = {key: value for key, value in kept["log"].items() if key not in SHOWN}
    if isinstance(kept.get("benchmarks"), Mapping):
        kept["benchmarks"] = {name: computed(part) for name, part in kept["benchmarks"].items()}
    return kept


def write_atomically(path: Path, text: str) -> None:
    """Writes a file, and its folder, so that a reader or a restart after a kill sees all of it or what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def usable(workdir: Path) -> Iterator[None]:
    """Makes a refusal of a file of a run's folder that cannot be read or written, before the run has begun.

    Raises:
      Refused: there was one.
    """
    try:
        yield
    except OSError as error:
        raise Refused(f"workdir {str(workdir)!r} cannot be used: {error.strerror}. Give another --workdir.") from error


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Ends the run when a file of it cannot be written.

    Raises:
      RunFailed: it could not.
    """
    try:
        yield
    except OSError as error:
        raise RunFailed(
            f"{path} could not be written ({error.strerror}). Once it can be, the same command goes on from the last "
            "checkpoint that is there."
        ) from error


def compare_config(workdir: Path, config: dict[str, Any]) -> list[str]:
    """Checks that a folder is not that of another run; writes nothing.

    Args:
      workdir: the folder; `config.json` in it, if it is there, holds the config of the run.
      config: the whole config, of JSON values.

    Returns:
      What changed of the keys in `PLACEMENT`, as "mesh.data=4, which was 8".

    Raises:
      Refused: the folder cannot be read, or it holds the run of another config.
    """
    path = workdir / "config.json"
    with usable(workdir):
        if not path.exists():
            return []
        text = path.read_text()
    try:
        there = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(
            f"workdir {str(workdir)!r} cannot be used: its config.json is damaged ({error}). Give another --workdir."
        ) from error
    changed = differences(computed(there), json.loads(_as_text(computed(config))))
    other = [str(change) for change in changed if change.name.partition(".")[0] not in PLACEMENT]
    if other:
        raise Refused(
            f"workdir {str(workdir)!r} holds the run of another config ({'; '.join(other[:3])}"
            f"{' ...' if len(other) > 3 else ''}): give another --workdir, or delete it to start over."
        )
    return [f"{change.name}={change.here}, which was {change.there}" for change in changed]


def claim(workdir: Path, config: dict[str, Any]) -> list[str]:
    """Makes the folder of a run, or checks that it is this run's; the place it is computed at may be another.

    Args:
      workdir: the folder; `config.json` in it holds the config of the run.
      config: the whole config, of JSON values.

    Returns:
      What `compare_config` does: to be said, and written by `write_config` once the folder is locked.

    Raises:
      Refused: the folder cannot be written, or it holds the run of another config.
    """
    changed = compare_config(workdir, config)
    with usable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        if not (workdir / "config.json").exists():
            write_config(workdir, config)
    return changed


def write_config(workdir: Path, config: dict[str, Any]) -> None:
    """Writes the config of a run into its folder."""
    write_atomically(workdir / "config.json", _as_text(config))


def _as_text(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the folder of a run for this process; the kernel lets go of it when the process ends, however it ends.

    Raises:
      Refused: another process trains in it, or it cannot be written.
    """
    with usable(workdir):
        lock = (workdir / ".lock").open("w")
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"workdir {str(workdir)!r} is in use by another training process: wait for it, or give another "
                "--workdir."
            ) from error
        yield


class _Absent:
    def __str__(self) -> str:
        return "not set"


ABSENT = _Absent()


class Difference(NamedTuple):
    """A key that two configs have other values of; `ABSENT` where one has no such key."""

    name: str
    there: Any
    here: Any

    def __str__(self) -> str:
        if ABSENT in (self.there, self.here):
            return f"{self.name} is only {'here' if self.there is ABSENT else 'there'}"
        return f"{self.name} is {self.there!r} there and {self.here!r} here"


def differences(there: Any, here: Any, path: str = "") -> list[Difference]:
    """Returns where two configs differ, by dotted key such as "model.width"."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = {key: f"{path}.{key}" if path else key for key in sorted({*there, *here})}
        return [
            difference
            for key, name in names.items()
            for difference in differences(there.get(key, ABSENT), here.get(key, ABSENT), name)
        ]
    return [] if there == here else [Difference(path, there, here)]


class MetricsLog:
    """The losses of a run, a line a step that is recorded, in `metrics.jsonl`, and beside it where the config says.

    A line holds only what the config and the data determine, no times: a run that was killed and went on leaves the
    same bytes as one that was not.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        after_step: int,
        tensorboard: bool,
        writes: bool = True,
        wandb: Callable[[int], "WandbRun"] | None = None,
    ):
        """Opens the log at a step; what was recorded after it is dropped, since it will be recorded again.

        Args:
          workdir: the folder of the run.
          after_step: the last step that stays.
          tensorboard: whether to write events too, into `tensorboard`.
          writes: whether this process writes the files; one that does not keeps `lines` alone.
          wandb: begins the run on Weights & Biases, given how many lines the folder has; None for none.

        Raises:
          RunFailed: they could not be written.
        """
        self._path = workdir / "metrics.jsonl"
        there = read_lines(self._path)
        self.lines = [line for line in there if line["step"] <= after_step]
        self._file: TextIO | None = None
        self._events = self._wandb = None
        if not writes:
            return
        if wandb is not None:
            self._wandb = wandb(len(there))
        with written(self._path):
            write_atomically(self._path, "".join(map(_dumped, self.lines)))
            self._file = self._path.open("a")
        if tensorboard:
            with written(workdir / "tensorboard"):
                self._events = EventFile(workdir / "tensorboard", after_step=after_step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Records values at a step.

        Raises:
          RunFailed: they could not be written, or the file is gone.
        """
        line = {"step": step, **values}
        self.lines.append(line)
        if self._file is not None:
            with written(self._path):
                self._file.write(_dumped(line))
                self._file.flush()
                self._check_there(self._file)
        if self._events is not None:
            with written(self._path.with_name("tensorboard")):
                self._events.write(step, values)
        if self._wandb is not None:
            self._wandb.write(len(self.lines), line)

    def close(self) -> None:
        """Closes the files; raises as `write` does."""
        if self._file is not None:
            with written(self._path):
                self._file.close()
        if self._events is not None:
            with written(self._path.with_name("tensorboard")):
                self._events.close()
        if self._wandb is not None:
            self._wandb.close()

    def _check_there(self, file: TextIO) -> None:
        """A file that was deleted, or moved with its folder, takes lines as if nothing were wrong."""
        there = os.stat(self._path)
        if not os.path.samestat(there, os.fstat(file.fileno())):
            raise FileNotFoundError(errno.ENOENT, "another file is in its place")


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
