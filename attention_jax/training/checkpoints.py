"""Checkpoints that are whole or not there: Orbax writes them, a manifest of sizes and checksums proves them.

The manifest is written after Orbax has committed, so a checkpoint without one was cut short and is removed. One that
does not match its manifest is set aside and the latest whole one is used. A save that fails leaves those before it.
"""

import errno
import json
import logging
import os
import re
import shutil
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from attention_jax.base.errors import Refused
from attention_jax.training.parallel import hosts
from attention_jax.training.run.workdir import usable, write_atomically

# Of a save that fails Orbax logs the traceback beside raising it, and leaves coroutines and tasks to be collected.
logging.getLogger("absl").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").addFilter(
    lambda record: not re.search("async_serialize|array_metadata|OCDBT", record.getMessage())
)
warnings.filterwarnings("ignore", "coroutine .*(erializ|save|cancellable|write)", RuntimeWarning)


class NotSaved(RuntimeError):
    """A checkpoint could not be written; the message is the reason. Those that were there still are."""


class Restored(NamedTuple):
    """What a checkpoint held: the step, the state as it was on the devices, and the JSON beside it."""

    step: int
    state: Any
    beside: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in `WORKDIR/checkpoints/STEP`."""

    def __init__(self, workdir: Path, *, keep: int, say: Callable[[str], None], read_only: bool = False):
        """Opens the folder, making it if need be.

        Args:
          workdir: the folder of the run.
          keep: how many checkpoints stay; the oldest go.
          say: told when a checkpoint is set aside, or passed over.
          read_only: change nothing in the folder, since a run may be writing to it.

        Raises:
          Refused: the folder cannot be written.
        """
        self._folder = workdir.absolute() / "checkpoints"
        self._aside = workdir.absolute() / "damaged_checkpoints"
        self._keep = keep
        self._say = say
        self._read_only = read_only
        if not read_only:
            with usable(workdir):
                hosts.first_does(self._clean)
        self._held = ExitStack()
        self._held.enter_context(_closed_loops_unmentioned())
        self._orbax = self._held.enter_context(ocp.Checkpointer(ocp.CompositeCheckpointHandler()))

    def steps(self) -> list[int]:
        """Returns the steps that have a whole checkpoint, the latest last."""
        there = list(self._folder.iterdir()) if self._folder.is_dir() else []
        steps = sorted(int(path.name) for path in there if path.is_dir() and path.name.isdigit())
        return [
            step for step in steps if self._manifest(step).exists() and not (self._read_only and self._damaged(step))
        ]

    @property
    def kept(self) -> str:
        """What a run whose state is lost can go on from, such as "the checkpoint of step 6 is kept"."""
        steps = self.steps()
        return f"the checkpoint of step {steps[-1]} is kept" if steps else "there is no checkpoint"

    def save(self, step: int, state: Any, beside: dict[str, Any], *, keep_also: Collection[int] = ()) -> None:
        """Saves a state with the JSON beside it, and returns once it is on the disk; does nothing if the step is there.

        A folder that was deleted meanwhile is made anew, and that is said.

        Args:
          step: the state's step.
          state: a pytree of arrays.
          beside: JSON values (the position in the data, the time spent).
          keep_also: steps whose checkpoints stay, however old they are.

        Raises:
          NotSaved: the disk is full, say. Nothing is left of the checkpoint, and none of those before it goes.
        """
        try:
            hosts.first_does(self._prepare)
            there = self.steps()
            if step in there:
                return
            self._orbax.save(
                self._folder / str(step),
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), beside=ocp.args.JsonSave(beside)),
            )
            hosts.first_does(lambda: self._seal(step))
        except (OSError, ValueError, Refused) as error:
            hosts.first_does(self._remove_failed)
            raise NotSaved(_why(error)) from error
        # Only now may the oldest go: until its manifest is there, the new one does not count.
        old = [number for number in [*there, step][: -self._keep] if number not in keep_also]
        hosts.first_does(lambda: self._remove(old))

    def restore(self, like: Any, *, step: int | None = None) -> Restored | None:
        """Returns the latest checkpoint, or None when there is none.

        Args:
          like: a state with the shapes, dtypes and shardings to restore to.
          step: one of `steps`, whose checkpoint is returned in place of the latest.

        Raises:
          Refused: it has other arrays, of another version of the program, say.
        """
        if step is None:
            steps = self.steps()
            if not steps:
                return None
            step = steps[-1]
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        path = self._folder / str(step)
        asked = ocp.args.Composite(state=ocp.args.StandardRestore(wanted), beside=ocp.args.JsonRestore())
        try:
            restored = self._orbax.restore(path, args=asked)
        except (OSError, ValueError, KeyError) as error:
            raise Refused(
                f"the checkpoint of step {step} is not one that this program can restore ({_why(error)}): move {path} "
                "away, to go on from the one before it."
            ) from error
        return Restored(step, restored.state, restored.beside)

    def arrays(self, step: int, parts: Collection[str]) -> dict[str, Any]:
        """Returns parts of the state of a checkpoint, such as "params", as nested dicts of NumPy arrays.

        Args:
          step: one of `steps`.
          parts: the fields of the state; one that it does not have is left out.

        Raises:
          Refused: it cannot be read.
        """
        path = self._folder / str(step) / "state"
        reader = self._held.enter_context(ocp.Checkpointer(ocp.PyTreeCheckpointHandler()))
        try:
            there = reader.metadata(path).item_metadata.tree
            shapes = {name: there[name] for name in parts if name in there}
            like = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), shapes)
            in_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
            return reader.restore(path, args=ocp.args.PyTreeRestore(like, restore_args=in_numpy, partial_restore=True))
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"the checkpoint {path.parent} cannot be read ({_why(error)}): give another.") from error

    def close(self) -> None:
        """Ends Orbax's threads."""
        self._held.close()

    def _seal(self, step: int) -> None:
        """Writes the manifest of a checkpoint that Orbax has committed.

        Raises:
          FileNotFoundError: somebody deletes it at this moment; a manifest would vouch for what is left.
        """
        folder = self._folder / str(step)
        found = _fingerprint(folder)
        if {"state", "beside"} <= {name.partition("/")[0] for name in found}:
            write_atomically(self._manifest(step), json.dumps(found))
        if not self._manifest(step).exists() or len(found) != len(_files(folder)):
            self._manifest(step).unlink(missing_ok=True)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _clean(self) -> None:
        """Leaves whole checkpoints alone in the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        self._set_damaged_aside()

    def _prepare(self) -> None:
        """Makes the folder anew if it was deleted; not the run's, whose losses would be gone too."""
        if not self._folder.is_dir():
            self._folder.mkdir()
            self._say(f"{self._folder.name}/ was deleted, with what was in it: it is made anew.")
        self._remove_unfinished()

    def _remove(self, steps: Collection[int]) -> None:
        """Removes checkpoints; what is left of one after a kill or an error has no manifest, and goes later."""
        for step in steps:
            self._manifest(step).unlink(missing_ok=True)
            shutil.rmtree(self._folder / str(step), ignore_errors=True)

    def _manifest(self, step: int) -> Path:
        return self._folder / f"{step}.manifest.json"

    def _remove_failed(self) -> None:
        """Removes what a save that failed left, once tensorstore has stopped writing its other arrays."""
        for _ in range(20):
            time.sleep(0.1)
            try:
                self._remove_unfinished()
            except OSError:  # a file came after its folder was listed
                continue
            return

    def _remove_unfinished(self) -> None:
        """Removes what a save that was cut short left: folders without a manifest, and the reverse."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.is_dir() and not (path.name.isdigit() and self._manifest(int(path.name)).exists()):
                shutil.rmtree(path)
        for path in self._folder.glob("*.manifest.json"):
            if not (self._folder / path.name.partition(".")[0]).is_dir():
                path.unlink()

    def _set_damaged_aside(self) -> None:
        problems = {step: self._problem(step) for step in self.steps()}
        whole = [step for step, problem in problems.items() if problem is None]
        use = f"the latest whole one, of step {whole[-1]}, is used" if whole else "there is no whole one: from step 0"
        for step, problem in reversed(problems.items()):
            if problem is None:
                continue
            self._say(f"checkpoint of step {step} is damaged ({problem}); {use}. It is kept in {self._aside.name}/.")
            self._aside.mkdir(exist_ok=True)
            (self._folder / str(step)).rename(self._aside / f"{step}.{len(list(self._aside.iterdir()))}")
            self._manifest(step).unlink()

    def _damaged(self, step: int) -> bool:
        problem = self._problem(step)
        if problem is not None:
            self._say(f"checkpoint of step {step} is damaged ({problem}); it is passed over.")
        return problem is not None

    def _problem(self, step: int) -> str | None:
        try:
            wanted = json.loads(self._manifest(step).read_text())
        except ValueError:
            return "its manifest cannot be read"
        there = _fingerprint(self._folder / str(step))
        wrong = [name for name in wanted if there.get(name) != wanted[name]]
        return f"{wrong[0]} is missing or altered" if wrong else None


def has_checkpoint(workdir: Path) -> bool:
    """Returns whether the folder of a run holds a checkpoint that is whole, which is what the run goes on from."""
    checkpoints = Checkpoints(workdir, keep=1, say=lambda _: None, read_only=True)
    try:
        return bool(checkpoints.steps())
    finally:
        checkpoints.close()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fingerprint(folder: Path) -> dict[str, list[int]]:
    """Returns the size and the CRC-32 of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, zlib.crc32(path.read_bytes())]
        for path in _files(folder)
    }


def _why(error: Exception) -> str:
    """Returns the operating system's reason where there is one, or the first line of the error's own.

    tensorstore's errors are ValueErrors that end in "No space left on device [os_error_code='28']"; Refused is that of
    another process, which has an OSError.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).partition("\n")[0].rstrip(".")


@contextmanager
def _closed_loops_unmentioned() -> Iterator[None]:
    """Keeps Python from printing a traceback for each array that tensorstore still writes when a save has failed.

    It reports them to the event loop of the save, which is closed by then.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
