"""A disk that is full and folders that are deleted under a run: it says so, and what was saved stays.

The limit on the size of files is the kernel's own, for this process; the full disk is a small one in memory.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Interrupted, RunFailed
from attention_jax.training.checkpoints import Checkpoints
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, go_on, kill, saved, terminate

# How large files may be: what Orbax's Python writes fails at 0, what its C++ writes fails at 1000.
LIMITS = [0, 1000]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def limited(monkeypatch) -> Callable[..., None]:
    """`limited(size, *steps)`: files have at most that size while checkpoints of these steps are saved, once each."""
    save = Checkpoints.save

    def patch(size: int, *steps: int) -> None:
        left = list(steps)

        def limited_save(self: Checkpoints, step: int, *arguments: Any, **options: Any) -> None:
            if step not in left:
                return save(self, step, *arguments, **options)
            left.remove(step)
            with files_of_at_most(size):
                return save(self, step, *arguments, **options)

        monkeypatch.setattr(Checkpoints, "save", limited_save)

    return patch


def names(workdir: Path) -> set[str]:
    return {path.name for path in (workdir / "checkpoints").iterdir()}


@pytest.mark.parametrize("size", LIMITS)
def test_a_save_that_fails_is_said_and_the_next_one_is_tried(undisturbed, experiment, tmp_path, limited, capfd, size):
    limited(size, 12)
    said = go_on(undisturbed, experiment, tmp_path, after=0)
    failed = "checkpoint of step 12 could not be saved (File too large); the checkpoint of step 6 is kept"
    assert f"{failed} and the run goes on\n" in said
    assert said.count("could not be saved") == 1
    assert saved(tmp_path) == [18, 24]
    # Neither Orbax's traceback nor tensorstore's.
    assert capfd.readouterr() == ("", "")


def test_nothing_of_it_is_left_and_the_one_before_serves(undisturbed, experiment, tmp_path, limited):
    limited(1000, 12)
    with at_batch(14, kill), pytest.raises(Killed):
        tiny.run(experiment, tmp_path)
    assert names(tmp_path) == {"6", "6.manifest.json"}
    go_on(undisturbed, experiment, tmp_path, after=6)


@pytest.mark.parametrize("size", LIMITS)
def test_a_last_save_that_fails_fails_the_run(undisturbed, experiment, tmp_path, limited, size):
    limited(size, 24)
    message = (
        r"^checkpoint of step 24 could not be saved \(File too large\); the checkpoint of step 18 is kept\. "
        r"Once there is room, the same command goes on from there\.$"
    )
    with pytest.raises(RunFailed, match=message):
        tiny.run(experiment, tmp_path)
    assert names(tmp_path) == {"12", "18", "12.manifest.json", "18.manifest.json"}
    assert not (tmp_path / "outcome.json").exists()
    go_on(undisturbed, experiment, tmp_path, after=18)


def test_a_save_after_a_signal_that_fails_fails_the_run(undisturbed, experiment, tmp_path, limited):
    limited(0, 4)
    with (
        at_batch(4, terminate),
        pytest.raises(RunFailed, match=r"step 4 could not be saved .*; there is no checkpoint\."),
    ):
        tiny.run(experiment, tmp_path)
    go_on(undisturbed, experiment, tmp_path, after=0)


def test_a_signal_has_what_failed_when_it_was_due_tried_again(undisturbed, experiment, tmp_path, limited):
    limited(0, 12)
    with at_batch(12, terminate), pytest.raises(Interrupted):
        tiny.run(experiment, tmp_path)
    assert saved(tmp_path) == [6, 12]
    go_on(undisturbed, experiment, tmp_path, after=12)


@pytest.mark.parametrize("step", [1, 9])
def test_losses_that_cannot_be_written_end_the_run_in_one_line(undisturbed, experiment, tmp_path, step):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(batch: dict) -> dict:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        return batch

    try:
        with (
            at_batch(step, limit),
            pytest.raises(RunFailed, match=r"metrics\.jsonl could not be written \(File too la"),
        ):
            tiny.run(experiment, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    go_on(undisturbed, experiment, tmp_path, after=step // 6 * 6)


def test_a_folder_that_cannot_be_written_at_the_start_is_refused(experiment, undisturbed, tmp_path):
    shutil.copytree(undisturbed.workdir, tmp_path, dirs_exist_ok=True)
    with files_of_at_most(0), pytest.raises(Refused, match="cannot be used: File too large"):
        tiny.run(experiment, tmp_path)
    go_on(undisturbed, experiment, tmp_path, after=24)


def test_checkpoints_that_were_deleted_are_missed_and_the_next_one_is_saved(undisturbed, experiment, tmp_path):
    def lose(batch: dict) -> dict:
        shutil.rmtree(tmp_path / "checkpoints")
        return batch

    with at_batch(9, lose):
        said = go_on(undisturbed, experiment, tmp_path, after=0)
    assert "checkpoints/ was deleted, with what was in it: it is made anew.\n" in said
    assert saved(tmp_path) == [18, 24]


def test_checkpoints_that_are_deleted_while_one_is_saved(undisturbed, experiment, tmp_path, monkeypatch):
    finalize, calls = ocp.CompositeCheckpointHandler.finalize, iter(range(1, 100))

    def lose(self: Any, directory: Any) -> None:
        if next(calls) == 2:
            shutil.rmtree(tmp_path / "checkpoints")
        finalize(self, directory)

    monkeypatch.setattr(ocp.CompositeCheckpointHandler, "finalize", lose)
    said = go_on(undisturbed, experiment, tmp_path, after=0)
    assert (
        "checkpoint of step 12 could not be saved (No such file or directory); there is no checkpoint and the" in said
    )
    assert "checkpoints/ was deleted" in said
    assert saved(tmp_path) == [18, 24]


def test_a_run_whose_folder_was_deleted_ends_and_does_not_make_it_anew(undisturbed, experiment, tmp_path):
    workdir = tmp_path / "run"

    def lose(batch: dict) -> dict:
        shutil.rmtree(workdir)
        return batch

    with (
        at_batch(9, lose),
        pytest.raises(RunFailed, match=r"metrics\.jsonl could not be written \(No such file or dir"),
    ):
        tiny.run(experiment, workdir)
    assert not workdir.exists()
    go_on(undisturbed, experiment, workdir, after=0)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with suppress(FileNotFoundError):
        if (
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True).returncode
            == 0
        ):
            yield folder
            subprocess.run(["umount", folder], check=True)
            return
    pytest.skip("mounting a disk is not permitted")


def test_a_disk_that_fills_up_and_has_room_again(undisturbed, experiment, small_disk, capfd):
    ballast, workdir = small_disk / "ballast", small_disk / "run"

    def fill(batch: dict) -> dict:
        space = os.statvfs(small_disk)
        with ballast.open("wb") as file:
            # The losses still fit, a checkpoint does not.
            os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_bsize - 16384)
        return batch

    with at_batch(9, fill), pytest.raises(RunFailed) as caught:
        tiny.run(experiment, workdir)
    reason = "could not be saved (No space left on device); the checkpoint of step 6 is kept"
    assert str(caught.value).startswith(f"checkpoint of step 24 {reason}.")
    assert capfd.readouterr() == ("", "")
    assert names(workdir) == {"6", "6.manifest.json"}
    ballast.unlink()
    go_on(undisturbed, experiment, workdir, after=6)
