"""Raw lines: what they hold, and what a kill or a hand leaves of their file."""

import json

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Result
from attention_jax.study.reproduction import lines as reproduce_lines
from tests.study.reproduce_cases import make_line, make_row

ROW = make_row()


def test_lines_come_back_as_they_were_written(tmp_path):
    lines = [make_line(ROW, seed) for seed in range(3)]
    for line in lines:
        reproduce_lines.append(tmp_path, line)
    assert reproduce_lines.read(tmp_path, "one") == lines
    assert reproduce_lines.read(tmp_path, "two") == []


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_a_kill_cut_is_left_out_and_the_next_one_takes_its_place(cut, tmp_path):
    for seed in (0, 1):
        reproduce_lines.append(tmp_path, make_line(ROW, seed))
    path = reproduce_lines.path_of(tmp_path, "one")
    path.write_bytes(path.read_bytes()[:-cut])
    # All but the newline is a line.
    assert [line.seed for line in reproduce_lines.read(tmp_path, "one")] == ([0, 1] if cut == 1 else [0])
    reproduce_lines.append(tmp_path, make_line(ROW, 2))
    assert [line.seed for line in reproduce_lines.read(tmp_path, "one")] == ([0, 1, 2] if cut == 1 else [0, 2])


@pytest.mark.parametrize("text", ["{]", "{}", '{"row": "one", "colour": "red"}'])
def test_a_line_that_is_none_is_refused_with_its_place(text, tmp_path):
    reproduce_lines.append(tmp_path, make_line(ROW))
    path = reproduce_lines.path_of(tmp_path, "one")
    path.write_text(f"{text}\n{path.read_text()}")
    with pytest.raises(Refused, match=r"^line 1 of .*one.jsonl is no result .*: delete it") as refusal:
        reproduce_lines.read(tmp_path, "one")
    assert "\n" not in str(refusal.value)


def test_a_line_has_both_splits_and_where_it_was_computed(tmp_path):
    log = [
        {"step": 10, "validation_loss": 9.0},
        {"step": 20, "validation_loss": 2.0},
        {"step": 30, "validation_loss": 4.0},
        {"step": 30, "best_step": 20, "test_loss": 3.0, "test_bleu": 30.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    outcome = {"metric": "test_loss", "score": 3.0, "score_step": 20, "steps": 30, "train_seconds": 50.0}
    result = Result("done", None, outcome, {"versions": {"jax": "1"}, "device": "cpu"})
    what = {"row": "one", "entry": "", "seed": 0, "version": 1, "written": "w", "config": {}}
    line = reproduce_lines.line_of(result, tmp_path, seconds=7.0, **what)
    assert line.scores == {"validation_loss": 2.0, "test_loss": 3.0, "test_bleu": 30.0}
    # It was stopped on its way: its steps alone took longer than what is left of it.
    assert line.seconds == 50.0
    assert line.versions == {"jax": "1"}
    assert {"cpu", "memory_gib", "device"} == set(line.machine)
    assert line.commit


def test_a_failed_run_has_a_line_with_its_reason(tmp_path):
    what = {"row": "one", "entry": "", "seed": 0, "version": 1, "written": "w", "config": {}}
    line = reproduce_lines.line_of(Result("failed", "the loss is nan"), tmp_path, seconds=7.0, **what)
    assert (line.status, line.reason, line.scores) == ("failed", "the loss is nan", {})
