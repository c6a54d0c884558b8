"""Rows are run to their lines and their table, whatever ends them on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction import lines as reproduce_lines
from attention_jax.study.reproduction.queue import Queue, turns
from attention_jax.study.reproduction.run import alone, chosen, places
from attention_jax.study.reproduction.standing import standings
from tests.launch.command_line import ROOT
from tests.study.reproduce_cases import make_comparison, make_row, reproducer, slow_rows

ROWS = [make_row("dear", 2.0), make_row("cheap", 1.0)]


def lines(folder: Path, row: str) -> list[dict]:
    """Returns the raw lines of a row."""
    path = reproduce_lines.path_of(folder / "results", row)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def logs(folder: Path) -> dict[str, list[int]]:
    """Returns every step that was taken of each run, also again."""
    runs = folder / "runs" / "cells" / "runs"
    return {str(path.parent.relative_to(runs)): [*map(int, path.read_text().split())] for path in runs.rglob("st*.txt")}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_row_runs_to_its_lines_its_verdict_and_the_table(workers, tmp_path):
    found = reproducer(ROWS, tmp_path, workers=workers).run(ROWS, asked=(), seeds=None)
    assert [(standing.name, standing.state, standing.scores) for standing in found] == [
        (name, "reproduced", {0: 0.0, 1: 0.25, 2: 0.5}) for name in ("dear", "cheap")
    ]
    assert [(line["seed"], line["scores"]) for line in lines(tmp_path, "cheap")] == [
        (0, {"test_loss": 0.0}),
        (1, {"test_loss": 0.25}),
        (2, {"test_loss": 0.5}),
    ]
    assert "| system cheap |" in (tmp_path / "results.md").read_text()
    assert lines(tmp_path, "cheap")[0]["config"]["steps"] == 20


def test_one_worker_takes_one_seed_of_everything_the_cheapest_first(tmp_path, capsys):
    reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)
    said = [line for line in capsys.readouterr().err.splitlines() if line.endswith("training")]
    names = [" / ".join((name, f"seed {seed}")) for seed in range(3) for name in ("cheap", "dear")]
    assert [line.partition("] ")[2].removesuffix(": training") for line in said] == names


def test_a_second_time_nothing_runs_and_nothing_is_written_twice(tmp_path):
    for asked in ((), (), {"cheap"}):
        found = reproducer(ROWS, tmp_path).run(ROWS, asked=asked, seeds=None)
        assert {standing.state for standing in found} == {"reproduced"}
    assert len(lines(tmp_path, "cheap")) == 3
    assert all(steps == list(range(1, 21)) for steps in logs(tmp_path).values())


def test_another_machine_runs_again_what_it_is_asked_for_and_its_own_score_is_judged(tmp_path):
    reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)
    (tmp_path / "runs").rename(tmp_path / "of_the_first_machine")
    mine = reproducer(ROWS, tmp_path).run(ROWS[1:], asked={"cheap"}, seeds=[1])
    assert [standing.name for standing in mine] == ["cheap"]
    assert len(logs(tmp_path)) == 1
    # Of a trainer that tells no time, the same score is the same run.
    assert len(lines(tmp_path, "cheap")) == 3
    assert len(lines(tmp_path, "dear")) == 3


def test_a_raised_version_runs_again_beside_what_was_there(tmp_path):
    reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=[0])
    rows = [ROWS[0], make_row("cheap", 1.0, version=2)]
    reproducer(rows, tmp_path).run(rows, asked=(), seeds=[0])
    assert [line["version"] for line in lines(tmp_path, "cheap")] == [1, 2]
    assert len(lines(tmp_path, "dear")) == 1
    assert len(logs(tmp_path)) == 3


def test_what_fails_is_a_row_that_says_so_and_runs_again_when_asked(tmp_path):
    rows = [make_row("bad", 1.0, sections={"fault": "raise", "at": 7}, seeds=(0,)), ROWS[0]]
    for retry, taken in ((None, 7), (None, 7), ("failed", 14)):
        found = reproducer(rows, tmp_path, retry=retry).run(rows, asked=(), seeds=None)
        assert [standing.state for standing in found] == ["failed", "reproduced"]
        assert found[0].verdict() == "bad: failed; seed 0 failed: ValueError: a bug of the variant's"
        assert len(next(steps for name, steps in logs(tmp_path).items() if name.startswith("bad"))) == taken
    assert "failed; seed 0 failed: ValueError" in (tmp_path / "results.md").read_text()
    assert len(lines(tmp_path, "bad")) == 1


def test_a_comparison_runs_each_variant_on_each_benchmark(tmp_path):
    pair = make_comparison(metric=None)
    found = reproducer([pair], tmp_path).run([pair], asked=(), seeds=[0, 2])
    assert {standing.name: standing.scores for standing in found} == {
        f"pair / {benchmark} / {variant}": {0: 0.0, 2: 0.5}
        for benchmark in ("recall", "copy")
        for variant in ("a", "none")
    }


def test_after_a_kill_every_run_goes_on_and_has_one_line(tmp_path):
    words = [sys.executable, "-m", "tests.study.reproduce_cases", str(tmp_path)]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 60
    while sum(map(len, logs(tmp_path).values())) < 100 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(logs(tmp_path)) == 2
    reproducer(slow_rows(), tmp_path).run(slow_rows(), asked=(), seeds=None)
    assert len(logs(tmp_path)) == 4
    for steps in logs(tmp_path).values():
        assert sorted(set(steps)) == list(range(1, 61))
        # Not more was done again than lies between two checkpoints.
        assert len(steps) <= 60 + 5
    for row in slow_rows():
        assert sorted(line["seed"] for line in lines(tmp_path, row.name)) == [0, 1]
        assert standings(row, reproduce_lines.read(tmp_path / "results", row.name))[0].left == ()


def test_a_line_that_a_kill_kept_from_being_written_is_written_by_the_next_start(tmp_path):
    reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)
    path = reproduce_lines.path_of(tmp_path / "results", "cheap")
    before = lines(tmp_path, "cheap")
    path.write_bytes(path.read_bytes()[:-100])
    reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)
    of_the_run = ("seed", "scores", "steps", "status")
    assert [[line[key] for key in of_the_run] for line in lines(tmp_path, "cheap")] == [
        [line[key] for key in of_the_run] for line in before
    ]
    assert all(steps == list(range(1, 21)) for steps in logs(tmp_path).values())


def test_beside_a_live_one_it_is_refused_and_writes_nothing(tmp_path):
    with alone(tmp_path / "runs"), pytest.raises(Refused, match="is held by a `reproduce` that runs") as refusal:
        reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".study.lock"]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(Refused, match=r"^ATTENTION_JAX_RUNS=.*runs cannot be used: File exists"):
        reproducer(ROWS, tmp_path).run(ROWS, asked=(), seeds=None)


def test_an_unknown_row_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(Refused, match=r"^there is no row 'chaep' to reproduce\. Did you mean 'cheap'\?$"):
        chosen(ROWS, ["dear", "chaep"])
    assert chosen(ROWS, []) == ROWS
    assert chosen(ROWS, ["cheap"]) == ROWS[1:]


def test_runs_lie_where_the_variable_says_or_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places(None, {"ATTENTION_JAX_RUNS": "R"}).runs == Path("R")
    cached = places(None, {"XDG_CACHE_HOME": str(tmp_path)})
    assert cached.runs == tmp_path / "attention_jax" / "runs"
    assert cached.results == cached.runs / "results"
    (tmp_path / "docs" / "results").mkdir(parents=True)
    assert places(None, {}).results == Path("docs/results")
    assert places("mine", {}).table == Path("mine.md")


def test_the_queue_hands_a_cell_on_with_its_time():
    (turn,) = turns([standings(ROWS[0], ())], asked=(), seeds=[0])
    ended = []
    queue = Queue([turn], lambda *what: ended.append(what))
    cell = queue.ask()
    assert queue.ask() is None
    assert queue.exhausted
    queue.tell(cell, None)
    assert ended[0][:2] == (cell, None)
    assert 0 <= ended[0][2] < 10
