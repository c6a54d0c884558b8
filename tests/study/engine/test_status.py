"""Where a study is: said on a terminal, in a log, and to whoever asks from elsewhere."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine import display as display_module
from attention_jax.study.engine.account import write_status
from attention_jax.study.engine.cells import ListSource
from attention_jax.study.engine.display import AtWork, Board, Lines, Standing
from attention_jax.study.engine.run import run_cells
from attention_jax.study.engine.status import print_status
from attention_jax.study.engine.store import Store
from tests.launch.command_line import contents
from tests.study.engine.test_supervisor import trivial

AT_WORK = [AtWork(0, "mqar / linear / seed 0", 300, 500, 45.25), AtWork(1, "digits / uniform / seed 1", 0, 0, 0.0)]
STANDING = Standing({"done": 3, "failed": 1}, 24, AT_WORK, 130.0)


def test_a_standing_in_words():
    assert STANDING.total() == "3 of 24 done, 1 failed, about 2m10s left"
    assert Standing({}, None, [], None).total() == "0 done"
    assert [str(at) for at in AT_WORK] == [
        "mqar / linear / seed 0  step 300/500  45.2 steps/s",
        "digits / uniform / seed 1  starting",
    ]


def test_a_log_has_a_line_each_half_minute(monkeypatch):
    lines: list[str] = []
    log = Lines(lines.append)
    log.show(STANDING)
    assert lines == []
    monkeypatch.setattr(display_module, "_LOG_SECONDS", 0.0)
    log.show(STANDING)
    assert lines == [f"{STANDING.total()}; {AT_WORK[0]}; {AT_WORK[1]}"]
    log.close()


def test_a_terminal_has_a_line_for_each_worker_and_a_total(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    board = Board()
    board.show(STANDING)
    board.say("[3/24] a line [that] stays")
    board.close()
    said = capsys.readouterr().err
    for words in ("worker 0  mqar / linear / seed 0  step 300/500", "worker 1", "3 of 24 done", "line [that] stays"):
        assert words in said


def test_status_tells_of_a_study_that_has_ended_and_writes_nothing(tmp_path, capsys):
    cells = [trivial(0), trivial(1, fault="raise", at=2)]
    run_cells(ListSource(cells), tmp_path, workers=0, announce=lambda line: None)
    before = contents(tmp_path)
    print_status(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 of 2 done, 1 failed"
    log = tmp_path / "runs" / "trivial" / "1" / "log.txt"
    assert lines[1] == f"failed: trivial / 1: ValueError: a bug of the variant's (log: {log})"
    assert lines[2].startswith("it does not run: its process ended")
    assert contents(tmp_path) == before


def test_status_tells_of_one_that_runs_and_of_one_that_was_killed(tmp_path, capsys):
    write_status(tmp_path, STANDING, ended=False)
    print_status(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == STANDING.total()
    assert lines[1].startswith("worker 0  mqar / linear / seed 0  step 300/500")
    assert lines[-1] == f"it runs (process {os.getpid()}, heard of 0s ago)"
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "time": time.time() - 300}))
    print_status(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "was last heard of 5m00s ago" in lines[-1]
    assert len(lines) == 2


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_study_is_refused(tmp_path: Path, there: bool):
    if there:
        (tmp_path / "status.json").write_text("{")
    with pytest.raises(Refused, match="holds no study"):
        print_status(tmp_path)


def test_status_of_a_study_with_a_storage_sees_who_is_at_work_on_every_host(tmp_path: Path, capsys) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    cells = [trivial(0), trivial(1), trivial(2)]
    run_cells(ListSource(cells[:1]), tmp_path, workers=0, storage=url, announce=lambda line: None)
    other = Store(url)
    other.register(cells)
    assert other.take(cells[2])
    print_status(tmp_path, url)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 of 3 done"
    assert lines[1] == f"{socket.gethostname()}:{os.getpid()}  trivial / 2"


def test_a_server_s_storage_of_a_study_that_has_none_is_refused(tmp_path: Path) -> None:
    write_status(tmp_path, STANDING, ended=False)
    with pytest.raises(Refused, match="holds no study of a server's storage: leave out --storage"):
        print_status(tmp_path, "postgresql+psycopg://me@127.0.0.1:1/none")
