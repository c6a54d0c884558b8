"""Running the cells of a study: the one way to, for comparisons and searches alike."""

import fcntl
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.study.engine.cells import Cell, Result, Source
from attention_jax.study.engine.display import Lines, display
from attention_jax.study.engine.places import this_machine
from attention_jax.study.engine.store import LEASE_SECONDS, NAME_FILE, Store, check_url, storage_url
from attention_jax.study.engine.supervisor import Supervisor, Terms
from attention_jax.training.run.outcome import RunFailed
from attention_jax.training.run.workdir import usable, write_atomically

RETRIES = ("failed", "refused")


@dataclass(frozen=True)
class How:
    """How a study runs, whatever it computes; each is an option of the command.

    Attributes:
      workers: processes that train; None is one for each core or device, 0 trains in this process.
      devices_per_cell: how many devices a run has, which its mesh takes.
      members: how many runs that differ in seed and learning rate only, at most, are trained as one program.
      retry: "failed" or "refused": runs that ended so run again.
      storage: the URL of a database in place of the file in the folder.
    """

    workers: int | None = None
    devices_per_cell: int = 1
    members: int = 1
    retry: str | None = None
    storage: str | None = None


DEFAULT = How()


def check_how(how: How, *, prunes: bool = False) -> None:
    """Checks how a study is to run.

    Args:
      how: its options.
      prunes: whether the source of the cells ends some of them early.

    Raises:
      Refused: there are no such workers, devices or members, no runs end in what runs again, or the URL is none.
    """
    this_machine().with_devices(how.devices_per_cell).workers(how.workers)
    if how.members < 1:
        raise Refused(f"--members={how.members}: give 1 (each run alone) or more.")
    if how.members > 1 and prunes:
        raise Refused(
            f"--members={how.members}: members take each step together, and a pruner ends each at a step of its own: "
            "give --pruner=none or --members=1."
        )
    if how.retry is not None and how.retry not in RETRIES:
        raise Refused(f"--retry={how.retry}: give {' or '.join(RETRIES)}.{did_you_mean(how.retry, RETRIES)}")
    if how.storage is not None:
        check_url(how.storage)


def run_cells(
    source: Source,
    workdir: Path,
    *,
    workers: int | None = None,
    devices_per_cell: int = 1,
    members: int = 1,
    retry: str | None = None,
    storage: str | None = None,
    tries: bool = True,
    preflight: Sequence[Cell] = (),
    planned: int = 0,
    had: Callable[[], Mapping[Cell, Result]] = dict,
    announce: Callable[[str], None] | None = None,
    stuck_seconds: float = 120.0,
) -> dict[str, Result]:
    """Runs the cells of a source that have no result yet, and returns the results of all, by the cells' names.

    Call `prepare_process` first, before JAX is used.

    Args:
      source: asked for cells, and told what became of each.
      workdir: the folder of the study: the cells' folders under `runs`, `study.db`, `compiled`, `logs`, `status.json`.
      workers: how many processes train: None is one for each core or device, or for each `devices_per_cell` of them; 0
        trains in this process.
      devices_per_cell: how many devices a cell has, which its mesh takes.
      members: how many cells that differ in seed and learning rate only, at most, a worker trains as one program.
      retry: "failed" or "refused": cells that ended so run again. Without it their rows stay.
      storage: the URL of a database in place of `study.db`; several hosts that give the same one, and see the same
        workdir, share the cells.
      tries: whether one step of each configuration is tried before the first cell.
      preflight: of which one is tried, for a source that does not know its cells before it is told of others.
      planned: how many cells such a source will have, to say how long they take.
      had: results that were had before there was a store; called once the folder is this study's. Of cells that the
        store has they do not count.
      announce: takes each line, in place of stderr.
      stuck_seconds: a worker without a sign of life for so long, and for 20 times its median step, is ended.

    Raises:
      Refused: an option cannot be, the folder is held by a live study or cannot be used, or the storage cannot.
      Interrupted: a signal came; the cells in training were saved first.
      RunFailed: no worker starts, or the storage does not answer any more.
    """
    check_how(How(workers, devices_per_cell, members, retry, storage), prunes=source.prunes)
    machine = this_machine().with_devices(devices_per_cell)
    terms = Terms(machine, machine.workers(workers), tries, stuck_seconds, preflight, planned, members)
    with usable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    url = storage_url(workdir, storage)
    store = Store(url, study=_study_name(workdir, url))
    try:
        with held(workdir, alone=store.on_one_machine):
            if store.on_one_machine:
                # Whoever had them does not live: the folder is held by this process.
                store.drop_leases()
            there = {row.identity for row in store.rows()}
            before = {cell: result for cell, result in had().items() if cell.identity not in there}
            store.register(before)
            for cell, result in before.items():
                store.put(cell, result)
            if retry is not None:
                store.reopen(retry)
            shown = display() if announce is None else Lines(announce)
            if crowded := machine.crowded(terms.workers):
                shown.say(crowded)
            if members > 1 and machine.kind == "cpu":
                shown.say(
                    f"--members={members}: on a CPU a step of members takes at least as long as theirs one by one"
                )
            with _renewed(store) if terms.workers == 0 and not store.on_one_machine else nullcontext():
                return Supervisor(source, store, workdir, terms, shown).run()
    finally:
        store.close()


@contextmanager
def held(workdir: Path, *, alone: bool = True) -> Iterator[None]:
    """Holds the folder of a study for this process, until it ends, however it does.

    Args:
      workdir: the folder.
      alone: whether no other may hold it; where a server has the leases others may.

    Raises:
      Refused: a live study holds it, or it cannot be written.
    """
    with usable(workdir):
        lock = (workdir / ".study.lock").open("w")
    with lock as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"workdir {str(workdir)!r} is held by a study that runs: look at it with `launch.py status {workdir}`, "
                "or give another --workdir."
            ) from error
        yield


@contextmanager
def _renewed(store: Store) -> Iterator[None]:
    """Renews leases from another thread: the one that trains comes to it between two cells alone."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE_SECONDS / 4):
            with suppress(RunFailed):
                store.renew()

    threading.Thread(target=renew, name="renewal of leases", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _study_name(workdir: Path, url: str) -> str:
    """Returns what tells the study of a folder from others in its storage: the same on every host that sees it."""
    if urlsplit(url).scheme.startswith("sqlite"):
        return "study"
    path = workdir / NAME_FILE
    with usable(workdir):
        if not path.exists():
            mine = path.with_name(f".{NAME_FILE}.{uuid.uuid4().hex}")
            write_atomically(mine, uuid.uuid4().hex)
            try:
                # Of two that begin together the first gives the name.
                os.link(mine, path)
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return path.read_text().strip()


def prepare_process(workers: int | None, workdir: Path, *, devices_per_cell: int = 1) -> None:
    """Makes this process, and the workers that it starts, those of a study; call it before JAX is used.

    With `workers=0` it is pinned to the cores of one worker with that worker's XLA devices, and keeps what it compiles
    in the study's folder, where the user has named none. Else it leaves accelerators to the workers.

    Raises:
      Refused: a cell cannot have so many devices.
    """
    import jax

    # What Weights & Biases reads, where cells log to it.
    os.environ.setdefault("WANDB_RUN_GROUP", workdir.resolve().name)
    os.environ.setdefault("WANDB_JOB_TYPE", "study")
    machine = this_machine().with_devices(devices_per_cell)
    if workers != 0 and machine.kind != "cpu":
        jax.config.update("jax_platforms", "cpu")
    # Also where workers train: the mesh of a cell is tried here.
    if workers == 0 or devices_per_cell > 1:
        _use_devices(devices_per_cell)
    if workers != 0:
        return
    if machine.kind == "cpu":
        os.sched_setaffinity(0, machine.share(0))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str((workdir / "compiled").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _use_devices(number: int) -> None:
    import jax

    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Where JAX runs already, as in a notebook, its devices stay as they are, and cells take the first.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", number)
