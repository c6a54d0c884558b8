"""Checkpoints that are whole or not there: Orbax writes them, a manifest of sizes and checksums proves them.

The manifest is written after Orbax has committed, so a checkpoint without one was cut short and is removed. One that
does not match its manifest is set aside and the latest whole one is used.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from attention_jax.training.workdir import write_atomically

logging.getLogger("absl").setLevel(logging.ERROR)


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
        """
        self._folder = workdir.absolute() / "checkpoints"
        self._aside = workdir.absolute() / "damaged_checkpoints"
        self._keep = keep
        self._say = say
        self._read_only = read_only
        if not read_only:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
            self._set_damaged_aside()
        self._manager = self._open()

    def steps(self) -> list[int]:
        """Returns the steps that have a whole checkpoint, the latest last."""
        steps = sorted(int(path.name) for path in self._folder.iterdir() if path.is_dir() and path.name.isdigit())
        return [step for step in steps if not self._read_only or self._is_whole(step)]

    def save(self, step: int, state: Any, beside: dict[str, Any]) -> None:
        """Saves a state with the JSON beside it, and returns once it is on the disk; does nothing if the step is there.

        Args:
          step: the state's step.
          state: a pytree of arrays.
          beside: JSON values (the position in the data, the time spent).
        """
        if step in self.steps():
            return
        self._manager.save(
            step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), beside=ocp.args.JsonSave(beside))
        )
        self._manager.wait_until_finished()
        write_atomically(self._manifest(step), json.dumps(_fingerprint(self._folder / str(step))))
        # Only now may the oldest go: until its manifest is there, the new one does not count.
        for old in self.steps()[: -self._keep]:
            self._manifest(old).unlink()
            self._manager.delete(old)

    def restore(self, like: Any) -> Restored | None:
        """Returns the latest checkpoint, or None when there is none.

        Args:
          like: a state with the shapes, dtypes and shardings to restore to.
        """
        steps = self.steps()
        if not steps:
            return None
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        restored = self._manager.restore(
            steps[-1],
            args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted), beside=ocp.args.JsonRestore()),
        )
        return Restored(steps[-1], restored.state, restored.beside)

    def close(self) -> None:
        """Ends the manager's threads."""
        self._manager.close()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, read_only=self._read_only)
        return ocp.CheckpointManager(self._folder, options=options)

    def _manifest(self, step: int) -> Path:
        return self._folder / f"{step}.manifest.json"

    def _remove_unfinished(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and not (path.name.isdigit() and self._manifest(int(path.name)).exists()):
                shutil.rmtree(path)

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

    def _is_whole(self, step: int) -> bool:
        if not self._manifest(step).exists():  # being written
            return False
        problem = self._problem(step)
        if problem is not None:
            self._say(f"checkpoint of step {step} is damaged ({problem}); it is passed over.")
        return problem is None

    def _problem(self, step: int) -> str | None:
        try:
            wanted = json.loads(self._manifest(step).read_text())
        except ValueError:
            return "its manifest cannot be read"
        there = _fingerprint(self._folder / str(step))
        wrong = [name for name in wanted if there.get(name) != wanted[name]]
        return f"{wrong[0]} is missing or altered" if wrong else None


def _fingerprint(folder: Path) -> dict[str, list[int]]:
    """Returns the size and the CRC-32 of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): [path.stat().st_size, zlib.crc32(path.read_bytes())] for path in files}
