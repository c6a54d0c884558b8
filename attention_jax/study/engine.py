"""Running the cells of a study: the one way to, for comparisons and searches alike."""

import fcntl
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import urlsplit

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.study.cells import Cell, Result, Source
from attention_jax.study.display import Lines, display
from attention_jax.study.places import this_machine
from attention_jax.study.store import LEASE_SECONDS, Store, storage_url
from attention_jax.study.supervisor import Supervisor, Terms
from attention_jax.training.outcome import RunFailed
from attention_jax.training.workdir import usable, write_atomically

RETRIES = ("failed", "refused")
_NAME_FILE = "study.name"


def run_cells(
    source: Source,
    workdir: Path,
    *,
    workers: int | None = None,
    retry: str | None = None,
    storage: str | None = None,
    tries: bool = True,
    had: Callable[[], Mapping[Cell, Result]] = dict,
    members: int = 1,
    announce: Callable[[str], None] | None = None,
    stuck_seconds: float = 120.0,
) -> dict[str, Result]:
    """Runs the cells of a source that have no result yet, and returns the results of all, by the cells' names.

    Call `prepare_process` first, before JAX is used.

    Args:
      source: asked for cells, and told what became of each.
      workdir: the folder of the study: the cells' folders under `runs`, `study.db`, `compiled`, `logs`, `status.json`.
      workers: how many processes train: None is one a core or device, 0 trains in this process.
      retry: "failed" or "refused": cells that ended so run again. Without it their rows stay.
      storage: the URL of a database in place of `study.db`; several hosts that give the same one, and see the same
        workdir, share the cells.
      tries: whether one step of each configuration is tried before the first cell.
      had: results that were had before there was a store; called once the folder is this study's. Of cells that the
        store has they do not count.
      members: how many cells that differ in seed and learning rate only, at most, a worker trains as one program.
      announce: takes each line, in place of stderr.
      stuck_seconds: a worker without a sign of life for so long, and for 20 times its median step, is ended.

    Raises:
      Refused: an option cannot be, the folder is held by a live study or cannot be used, or the storage cannot.
      Interrupted: a signal came; the cells in training were saved first.
      RunFailed: no worker starts, or the storage does not answer any more.
    """
    if retry is not None and retry not in RETRIES:
        raise Refused(f"--retry={retry}: give {' or '.join(RETRIES)}.{did_you_mean(retry, RETRIES)}")
    machine = this_machine()
    check_members_asked(members, prunes=source.prunes)
    terms = Terms(machine, machine.workers(workers), tries, stuck_seconds, members)
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
            if terms.workers > len(machine.units):
                shown.say(f"{terms.workers} workers share {len(machine.units)} {machine}")
            if members > 1 and machine.kind == "cpu":
                shown.say(
                    f"--members={members}: on a CPU a step of members takes at least as long as theirs one by one"
                )
            with _renewed(store) if terms.workers == 0 and not store.on_one_machine else nullcontext():
                return Supervisor(source, store, workdir, terms, shown).run()
    finally:
        store.close()


def check_members_asked(members: int, *, prunes: bool) -> None:
    """Refuses a number of members that there cannot be.

    Args:
      members: how many at most are trained as one.
      prunes: whether the source of the cells ends some of them early.

    Raises:
      Refused: there are fewer than one, or several that are pruned.
    """
    if members < 1:
        raise Refused(f"--members={members}: give 1 (each run alone) or more.")
    if members > 1 and prunes:
        raise Refused(
            f"--members={members}: members take each step together, and a pruner ends each at a step of its own: give "
            "--pruner=none or --members=1."
        )


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
    path = workdir / _NAME_FILE
    with usable(workdir):
        if not path.exists():
            mine = path.with_name(f".{_NAME_FILE}.{uuid.uuid4().hex}")
            write_atomically(mine, uuid.uuid4().hex)
            try:
                # Of two that begin together the first gives the name.
                os.link(mine, path)
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        return path.read_text().strip()


def prepare_process(workers: int | None, workdir: Path) -> None:
    """Makes this process one that runs a study; call it before JAX is used.

    With `workers=0` it is pinned to one of its cores with one XLA device, as a worker is, and keeps what it compiles
    in the study's folder, where the user has named none. Else it leaves accelerators to the workers.
    """
    import jax

    if workers != 0:
        if this_machine().kind != "cpu":
            jax.config.update("jax_platforms", "cpu")
        return
    if this_machine().kind == "cpu":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Where JAX runs already, as in a notebook, its devices stay as they are, and cells take the first.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", 1)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str((workdir / "compiled").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
