"""The folder of a run: whose it is, and a log that a kill cannot spoil and that is not lost without a word."""

import json
import os
import re
import shutil

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import RunFailed
from attention_jax.training.run.workdir import (
    MetricsLog,
    claim,
    differences,
    locked,
    read_lines,
    write_atomically,
    write_config,
)

CONFIG = {"model": {"width": 64, "name": "gpt"}, "steps": 10, "seeds": (0, 1), "mesh": {"data": 8, "fsdp": 1}}


def test_a_write_that_is_cut_short_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "before")

    def cut_short(descriptor: int) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut_short)
        with pytest.raises(OSError, match="full"):
            write_atomically(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, "after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_its_configs(tmp_path):
    workdir = tmp_path / "runs" / "first"
    claim(workdir, CONFIG)
    written = (workdir / "config.json").read_bytes()
    claim(workdir, CONFIG)
    assert json.loads(written) == {**CONFIG, "seeds": [0, 1]}
    wider = {**CONFIG, "model": {"width": 128, "name": "gpt"}}
    with pytest.raises(Refused, match=r"another config \(model\.width is 64 there and 128 here\): give another --work"):
        claim(workdir, wider)
    assert (workdir / "config.json").read_bytes() == written


def test_a_run_goes_on_elsewhere_and_what_changed_is_returned_and_written_when_it_is_told(tmp_path):
    claim(tmp_path, CONFIG)
    written = (tmp_path / "config.json").read_bytes()
    rules = ((".*", (None, "fsdp")),)
    moved = {**CONFIG, "mesh": {"data": 4, "fsdp": 2}, "attention_parallel": "all_gather", "parameter_rules": rules}
    changed = [
        "attention_parallel=all_gather, which was not set",
        "mesh.data=4, which was 8",
        "mesh.fsdp=2, which was 1",
        "parameter_rules=[['.*', [None, 'fsdp']]], which was not set",
    ]
    assert claim(tmp_path, moved) == changed
    assert (tmp_path / "config.json").read_bytes() == written
    write_config(tmp_path, moved)
    assert claim(tmp_path, moved) == []


def test_another_config_is_refused_on_whatever_mesh_and_the_mesh_is_no_reason(tmp_path):
    claim(tmp_path, CONFIG)
    other = {**CONFIG, "mesh": {"data": 4, "fsdp": 1}, "steps": 11}
    with pytest.raises(Refused, match=r"another config \(steps is 10 there and 11 here\): give"):
        claim(tmp_path, other)


@pytest.mark.parametrize("key", ["meshes", "model.mesh", "attention"])
def test_a_key_that_only_looks_like_one_of_placement_is_refused(tmp_path, key):
    first, _, last = key.partition(".")
    before, after = ({first: {last: value} if last else value} for value in (1, 2))
    claim(tmp_path, before)
    with pytest.raises(Refused, match=f"{key} is 1 there and 2 here"):
        claim(tmp_path, after)


def test_a_config_that_cannot_be_read_is_refused_and_kept(tmp_path):
    (tmp_path / "config.json").write_text('{"model": {"wid')
    with pytest.raises(Refused, match="cannot be used"):
        claim(tmp_path, CONFIG)
    assert (tmp_path / "config.json").read_text() == '{"model": {"wid'


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be used"):
        claim(tmp_path / "file" / "run", CONFIG)


def test_a_lock_that_cannot_be_made_is_refused(tmp_path):
    with (
        pytest.raises(Refused, match=r"gone' cannot be used: No such file or directory\. Give another"),
        locked(tmp_path / "gone"),
    ):
        pass


def test_three_differences_are_named_and_more_are_hinted_at(tmp_path):
    claim(tmp_path, {name: 0 for name in "abcd"})
    with pytest.raises(Refused, match=r"\(a is 0 there and 1 here; b is .* here; c is 0 there and 1 here \.\.\.\)"):
        claim(tmp_path, {name: 1 for name in "abcd"})


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, ["a.b is 1 there and 3 here"]),
        ({"a": 1}, {"b": 1}, ["a is only there", "b is only here"]),
        ({"a": {"b": 1}}, {"a": None}, ["a is {'b': 1} there and None here"]),
    ],
)
def test_differences_are_named_by_their_dotted_key(there, here, expected):
    assert list(map(str, differences(there, here))) == expected


def test_the_log_drops_what_comes_after_the_step_it_is_opened_at(tmp_path):
    log = MetricsLog(tmp_path, after_step=0, tensorboard=False)
    for step in range(1, 5):
        log.write(step, {"loss": step / 2})
    log.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "lo')
    again = MetricsLog(tmp_path, after_step=3, tensorboard=False)
    assert again.lines == [{"step": step, "loss": step / 2} for step in (1, 2, 3)]
    again.write(4, {"loss": 2.0})
    again.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert not (tmp_path / "tensorboard").exists()


def test_each_line_is_on_the_disk_when_it_is_written(tmp_path):
    log = MetricsLog(tmp_path, after_step=0, tensorboard=False)
    log.write(1, {"loss": 0.1})
    assert read_lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.1}]
    log.close()


def test_numbers_come_back_as_they_were_and_those_that_json_lacks_as_words(tmp_path):
    log = MetricsLog(tmp_path, after_step=0, tensorboard=False)
    log.write(1, {"third": 1 / 3, "nan": float("nan"), "infinite": float("-inf")})
    log.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    line = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert line == {"step": 1, "third": 1 / 3, "nan": "nan", "infinite": "-inf"}


def test_tensorboard_events_are_written_beside_it(tmp_path):
    log = MetricsLog(tmp_path, after_step=0, tensorboard=True)
    log.write(1, {"train_loss": 0.5})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train_loss" in events.read_bytes()


def gone(workdir):
    shutil.rmtree(workdir)


def moved(workdir):
    workdir.rename(workdir.with_name("elsewhere"))


def replaced(workdir):
    (workdir / "metrics.jsonl").unlink()
    (workdir / "metrics.jsonl").touch()


@pytest.mark.parametrize(
    ("lose", "reason"), [(gone, "No such file"), (moved, "No such file"), (replaced, "another file is in its place")]
)
def test_lines_that_would_go_into_a_file_that_is_gone_end_the_run(tmp_path, lose, reason):
    workdir = tmp_path / "run"
    log = MetricsLog(workdir, after_step=0, tensorboard=False)
    log.write(1, {"loss": 0.5})
    lose(workdir)
    with pytest.raises(RunFailed, match=rf"^{re.escape(str(workdir))}/metrics\.jsonl could not be written \({reason}"):
        log.write(2, {"loss": 0.25})
    log.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
@pytest.mark.parametrize("name", ["metrics.jsonl", "tensorboard"])
def test_a_full_disk_ends_the_run_in_one_line_and_not_by_waiting(tmp_path, monkeypatch, name):
    monkeypatch.setattr("attention_jax.training.run.events._SECONDS_BETWEEN_FLUSHES", -1.0)
    log = MetricsLog(tmp_path, after_step=0, tensorboard=True)
    with open("/dev/full", "w") as full:
        file = log._file if name == "metrics.jsonl" else log._events._writer._py_recordio_writer._writer
        os.dup2(full.fileno(), file.fileno())
        for _ in range(2):
            with pytest.raises(
                RunFailed, match=rf"/{re.escape(name)} could not be written \(No space left on device\)"
            ):
                log.write(1, {"loss": 0.5})
        with pytest.raises(RunFailed, match="No space left on device"):
            log.close()


def test_a_log_that_cannot_be_opened_ends_the_run(tmp_path):
    (tmp_path / "tensorboard").write_text("not a folder")
    with pytest.raises(RunFailed, match=r"/tensorboard could not be written \(File exists\)"):
        MetricsLog(tmp_path, after_step=0, tensorboard=True)


def test_no_file_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "metrics.jsonl") == []
