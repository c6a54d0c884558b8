"""Weights & Biases by a stand-in of the package: which rows it is given, and what becomes of its errors."""

import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attention_jax.base.errors import Refused
from attention_jax.training.run.wandb_run import WandbRun
from attention_jax.training.run.workdir import MetricsLog
from attention_jax.training.sections import Logging


class StandIn:
    """What `import wandb` gives: it keeps what it is told, and fails where it is told to."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self.fails: set[str] = set()

    def Settings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802
        return settings

    def _may_fail(self, what: str) -> None:
        if what in self.fails:
            raise ConnectionError(f"no network for {what}")

    def init(self, **options: Any) -> Any:
        self._may_fail("init")
        self.begun.append(options)
        return SimpleNamespace(url="there", log=self._log, finish=self._finish, define_metric=lambda *a, **k: None)

    def _log(self, row: dict[str, Any]) -> None:
        self._may_fail("log")
        self.rows.append(row)

    def _finish(self, exit_code: int) -> None:
        self._may_fail("finish")
        self.ended.append(exit_code)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)  # type: ignore[arg-type]
    return stand_in


def opened(workdir: Path, *, after_step: int, said: list[str] | None = None) -> MetricsLog:
    def begin(lines: int) -> WandbRun:
        return WandbRun(workdir, {"seed": 3}, lines=lines, say=([] if said is None else said).append)

    return MetricsLog(workdir, after_step=after_step, tensorboard=False, wandb=begin)


def test_a_run_that_is_killed_and_goes_on_is_one_run_and_no_row_is_sent_twice(wandb: StandIn, tmp_path: Path) -> None:
    for after_step, last in ((0, 7), (4, 5), (4, 10)):
        log = opened(tmp_path, after_step=after_step)
        for step in range(after_step + 1, last + 1):
            log.write(step, {"loss": 1 / step})
            if step % 5 == 0:
                log.write(step, {"validation_loss": 2 / step})
    log.close()
    assert wandb.rows == log.lines
    assert [line["step"] for line in log.lines] == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10]
    assert len({options["id"] for options in wandb.begun}) == 1
    assert [options["resume"] for options in wandb.begun] == ["allow"] * 3
    assert wandb.begun[0]["config"] == {"seed": 3}
    assert wandb.ended == [0]


def test_two_folders_are_two_runs_and_a_cell_is_named_by_its_place(wandb: StandIn, tmp_path: Path) -> None:
    for folder in ("one", "study/runs/mqar/linear/0"):
        (tmp_path / folder).mkdir(parents=True)
        opened(tmp_path / folder, after_step=0).close()
    assert [options["name"] for options in wandb.begun] == ["one", "mqar/linear/0"]
    assert wandb.begun[0]["id"] != wandb.begun[1]["id"]


def test_a_run_that_a_signal_stops_has_not_succeeded(wandb: StandIn, tmp_path: Path) -> None:
    log = opened(tmp_path, after_step=0)
    with pytest.raises(KeyboardInterrupt), closing(log):
        raise KeyboardInterrupt
    assert wandb.ended == [1]


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_an_error_of_it_is_said_once_and_ends_nothing(wandb: StandIn, tmp_path: Path, fails: str) -> None:
    wandb.fails, said = {fails}, []
    log = opened(tmp_path, after_step=0, said=said)
    for step in (1, 2):
        log.write(step, {"loss": 0.5})
    log.close()
    assert [line for line in said if "takes no more lines" in line] == [said[-1]]
    assert f"(no network for {fails})" in said[-1]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_package_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"log\.wandb=True needs the package wandb, which is not here: pip install wandb"):
        Logging(wandb=True)
