"""SIGKILL to workers and supervisors at random: every cell is done, none twice, none stuck, and little is repeated."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from attention_jax.study.engine.store import Store, storage_url
from tests.missing import missing
from tests.study.storm import cells

ROOT = Path(__file__).resolve().parents[3]
STEPS, EVERY = 100, 20


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, _, rest = stat.read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def storm(workdir: Path, *, number: int, workers: int, kills: int, every: float, storage: str | None = None) -> int:
    """Runs a study to its end, killing as it goes; returns how many workers were killed.

    Args:
      workdir: its folder.
      number: of cells.
      workers: at once.
      kills: how often something is killed: a worker, or each fourth time the supervisor and so all of its workers.
      every: the mean time between two kills, in seconds.
      storage: in place of the file.
    """
    draw = random.Random(0)
    words = [sys.executable, "-m", "tests.study.storm", workdir, number, workers, *([storage] if storage else [])]
    killed, times = 0, 0
    while True:
        with (workdir.parent / "said").open("ab") as said:
            process = subprocess.Popen(list(map(str, words)), cwd=ROOT, stdout=said, stderr=said)
        while process.poll() is None:
            time.sleep(draw.uniform(0.5, 1.5) * every)
            there = children(process.pid)
            if times >= kills or not there:
                continue
            times += 1
            if times % 4:
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(there), signal.SIGKILL)
                killed += 1
            else:
                process.kill()
                process.wait()
                killed += len(there)
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, (workdir.parent / "said").read_text()[-3000:]
            assert times >= kills / 2, f"it ended after {times} kills"
            return killed


def assert_whole(workdir: Path, number: int, *, killed: int, url: str, study: str = "study") -> None:
    """Checks that each cell was done once, to its last step, and how many steps were taken again."""
    store = Store(url, study=study)
    rows = store.rows()
    store.close()
    assert [row.status for row in rows] == ["done"] * number
    assert [row.owner for row in rows] == [None] * number
    finished = (workdir / "finished.txt").read_text().split()
    assert len(finished) == len(set(finished)), "a result was written down twice"
    taken = 0
    for cell in cells(number):
        steps = list(map(int, (cell.folder(workdir) / "steps.txt").read_text().split()))
        assert set(steps) == set(range(1, STEPS + 1))
        assert steps.count(STEPS) == 1, f"{cell.name} was finished twice"
        taken += len(steps)
    repeated = taken - number * STEPS
    print(f"{number} cells, {killed} workers killed, {repeated} steps taken again")
    assert repeated <= killed * EVERY


def test_a_short_storm_of_kills(tmp_path):
    workdir = tmp_path / "W"
    killed = storm(workdir, number=40, workers=4, kills=8, every=0.3)
    assert_whole(workdir, 40, killed=killed, url=storage_url(workdir, None))


@pytest.mark.long
def test_a_thousand_cells_in_a_storm_of_kills(tmp_path):
    workdir = tmp_path / "W"
    killed = storm(workdir, number=1000, workers=8, kills=60, every=1.0)
    assert_whole(workdir, 1000, killed=killed, url=storage_url(workdir, None))


@pytest.mark.long
def test_what_a_cell_costs_the_supervisor_does_not_grow(tmp_path):
    """The processor time of a supervisor for 250 cells and for 1000, and so for each more of them."""
    costs = {}
    for number in (250, 1000):
        workdir = tmp_path / str(number)
        words = [sys.executable, "-m", "tests.study.storm", workdir, number, 8]
        subprocess.run(list(map(str, words)), cwd=ROOT, check=True)
        _, costs[number] = map(float, (workdir / "times.txt").read_text().split())
    first, each_more = costs[250] / 250, (costs[1000] - costs[250]) / 750
    print(f"{1000 * each_more:.1f} ms of the supervisor for a cell; with its start {1000 * first:.1f} ms of the first")
    assert each_more < 1.5 * first
    assert each_more < 0.05


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of our own, on a free port of this machine; Debian's package, which will not run as root."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries or shutil.which("runuser") is None or os.geteuid() != 0:
        missing("PostgreSQL is not here: apt-get install postgresql, and run as root")
    # Not under pytest's own folder, which is root's alone.
    home = Path(tempfile.mkdtemp(prefix="attention_jax_postgres_"))
    shutil.chown(home, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_postgres = ["runuser", "-u", "postgres", "--"]
    initdb = [*as_postgres, str(binaries[-1]), "-D", str(home / "data"), "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(home)]
    binary = str(binaries[-1].with_name("postgres"))
    with (tmp_path_factory.mktemp("postgres") / "log").open("wb") as log:
        server = subprocess.Popen(
            [*as_postgres, binary, "-D", str(home / "data"), *options], stdout=log, stderr=log, cwd="/"
        )
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    yield url
    # Only what this started: the server by the number in its own file.
    pid = int((home / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGINT)
    server.wait(timeout=30)
    shutil.rmtree(home)


@pytest.mark.parametrize(
    ("number", "workers", "kills", "every"),
    [(40, 4, 8, 0.3), pytest.param(1000, 8, 60, 1.0, marks=pytest.mark.long)],
    ids=["short", "thousand"],
)
def test_a_storm_of_kills_on_postgresql(tmp_path, postgres, number, workers, kills, every):
    workdir = tmp_path / "W"
    killed = storm(workdir, number=number, workers=workers, kills=kills, every=every, storage=postgres)
    study = (workdir / "study.name").read_text()
    assert_whole(workdir, number, killed=killed, url=postgres, study=study)


@pytest.mark.long
def test_two_supervisors_on_one_server_share_the_cells(tmp_path, postgres):
    workdir = tmp_path / "W"
    words = list(map(str, [sys.executable, "-m", "tests.study.storm", workdir, 40, 2, postgres]))
    both = [subprocess.Popen(words, cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    for cell in cells(40):
        steps = list(map(int, (cell.folder(workdir) / "steps.txt").read_text().split()))
        assert steps == list(range(1, STEPS + 1))
