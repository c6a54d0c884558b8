"""A sweep from the command to the report, killed on the way."""

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.launch.command_line import RECALL, contents, launch, read_jsonl, start, write_config
from tests.launch.test_refusals import answers

BRIEF: dict[str, Any] = {**RECALL, "steps": 20, "log": {"every": 5}}
SPACE = "--space=optimizer.learning_rate=[1e-3,1e-2] model.num_heads=[2,3]"


def trials(workdir: Path) -> list[optuna.trial.FrozenTrial]:
    """Returns the trials of a sweep, as any reader of its database sees them."""
    study = optuna.load_study(study_name=workdir.name, storage=f"sqlite:///{workdir / 'study.db'}")
    return study.get_trials(deepcopy=False)


def rows(workdir: Path) -> list[tuple[Any, ...]]:
    """Returns what a sweep found of each trial."""
    return [
        (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values)
        for trial in trials(workdir)
    ]


def kill_all(process: Any) -> None:
    """Kills a supervisor and its workers, which are its children."""
    listed = os.popen(f"ps -o pid= --ppid {process.pid}").read().split()
    process.kill()
    for pid in map(int, listed):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def test_a_grid_runs_and_its_best_is_a_config(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", BRIEF), tmp_path / "W"
    words = ("sweep", config, SPACE, "--sampler=grid", f"--workdir={workdir}", "--best=1", "--fresh_seeds=1")
    answer = launch(*words)
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    assert "4 trials: 2 done, 2 refused" in answer.out
    assert f"optuna-dashboard sqlite:///{workdir / 'study.db'}" in answer.out
    found = list(csv.DictReader((workdir / "trials.csv").open()))
    assert [row["status"] for row in found] == ["done", "refused", "done", "refused"]
    assert "3 heads do not divide" in found[1]["reason"]
    for row, trial in zip(found, trials(workdir), strict=True):
        if row["status"] == "done":
            line = read_jsonl(workdir / "runs" / f"trial-{int(row['trial']):04d}" / "metrics.jsonl")[-1]
            assert trial.value == line["validation_loss"]
            # A search that saw the test split could be led by it.
            assert "test_loss" not in line
    report = json.loads((workdir / "report.json").read_text())
    assert [trial["value"] for trial in report["trials"]] == [trial.value for trial in trials(workdir)]
    assert [list(one["values"]) for one in report["best"]] == [["1"]]
    shown = launch("show", f"--config={workdir / 'best.py'}")
    assert "mesh.data = 1" in shown.out
    before = contents(workdir / "runs")
    again = launch(*words)
    assert again.code == 0, again.err
    assert "training" not in again.err
    assert contents(workdir / "runs") == before


BAD = [
    (["--space=model.widht=[16]"], "Did you mean 'model.width'?"),
    (["--space=optimizer.learning_rate=log(1e-2,1e-4)"], "is reversed"),
    (["--space=optimizer.learning_rate=log(1e-2,1e-2)"], "is empty"),
    (["--space=optimizer.learning_rate=log(0,1)"], "no logarithm of 0"),
    (["--space=model.attention=[scaled_dto]"], "Did you mean 'scaled_dot'?"),
    (["--space=model.width=[16,32]", "--trials=0"], "trials=0: give a whole number of at least 1"),
    (["--space=model.width=[16,32]", "--sampler=tpx"], "Did you mean 'tpe'?"),
    (["--space=model.width=[16,32]", "--pruner=halving"], "Did you mean 'successive_halving'?"),
    (["--space=model.width=[16,32]", "--workers=-1"], "--workers=-1"),
    (["--space=model.width=[16,32]", "--retry=al"], "--retry=al"),
    (["--space=model.width=[16,32]", "--storage=postgresql+psycopg://localhost:1/none"], "storage"),
    (["--space=model.width=[16,32]", "--storage=mysql://localhost/none"], "storage"),
    ([], "there is no space"),
]


def test_what_cannot_be_swept_is_one_line_and_leaves_no_trial(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", BRIEF)
    commands = [["sweep", config, f"--workdir={tmp_path / 'W'}", *words] for words, _ in BAD]
    for (words, said), answer in zip(BAD, answers(commands, environment={}), strict=True):
        assert answer.code == 2, (words, answer.err)
        assert len(answer.err.splitlines()) == 1, answer.err
        assert said in answer.err, (words, answer.err)
        assert answer.out == ""
    assert not (tmp_path / "W" / "study.db").exists()
    assert not (tmp_path / "W" / "runs").exists()


def test_a_sweep_s_file_is_not_trained(tmp_path: Path) -> None:
    config = write_config(tmp_path / "sweep.py", {**BRIEF, "space": "model.width=[16,32]"})
    answer, shown = answers([["train", config, f"--workdir={tmp_path / 'W'}"], ["show", config]], environment={})
    assert answer.code == 2
    assert "use launch.py sweep" in answer.err
    assert "model.width = 16" in shown.out


@pytest.mark.long
def test_a_pruned_sweep_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    words = ("sweep", config, "--space=optimizer.learning_rate=log(1e-4,1e-1) model.width=[16,24]", "--trials=8",
             "--pruner=successive_halving:reduction=2", "--workers=1", "--best=2", "--fresh_seeds=2")  # fmt: skip
    whole, killed = tmp_path / "whole" / "W", tmp_path / "killed" / "W"
    assert launch(*words, f"--workdir={whole}").code == 0
    for seconds in (8, 13, 17, 21):
        process = start(*words, f"--workdir={killed}")
        time.sleep(seconds)
        kill_all(process)
    answer = launch(*words, f"--workdir={killed}")
    assert answer.code == 0, answer.err
    assert rows(killed) == rows(whole)
    assert (killed / "best.py").read_text().replace("killed", "whole") == (whole / "best.py").read_text()


@pytest.mark.long
def test_the_best_config_trains_to_the_value_that_it_says(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", BRIEF), tmp_path / "W"
    words = ("sweep", config, SPACE, "--sampler=grid", f"--workdir={workdir}", "--best=1", "--fresh_seeds=1")
    assert launch(*words).code == 0
    best = launch("train", f"--config={workdir / 'best.py'}", f"--workdir={tmp_path / 'best'}")
    assert best.code == 0, best.err
    (folder,) = (workdir / "runs" / "best").glob("*/seed-1")
    there, here = (read_jsonl(path / "metrics.jsonl")[-1] for path in (folder, tmp_path / "best"))
    # The sweep's programs are compiled by another optimisation level.
    assert here == pytest.approx(there, rel=1e-5)
