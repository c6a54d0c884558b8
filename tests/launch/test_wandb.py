"""`--log=wandb` with the package itself, offline: what it leaves on the disk is what `wandb sync` would send."""

import json
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.command_line import RECALL, launch, read_jsonl, start, write_config
from tests.launch.conftest import Finished
from tests.launch.test_crash import await_lines, recorded
from tests.launch.test_refusals import answers, assert_refused

pytest.importorskip("wandb", reason="wandb is not installed: pip install wandb")

OFFLINE = {"WANDB_MODE": "offline"}
_BLOCK, _HEADER = 32768, struct.Struct("<IHB")


def records(file: Path) -> Iterator[Any]:
    """Yields what a file of W&B holds: LevelDB's log of protocol buffers, behind 7 bytes of its own."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""
    while place + _HEADER.size <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER.size:
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = _HEADER.unpack_from(data, place)
        whole += data[place + _HEADER.size : place + _HEADER.size + length]
        place += _HEADER.size + length
        # Whole, or the last part.
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def rows(workdir: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run, of all its starts."""
    found = [record.history for file in sorted(workdir.glob("wandb/offline-run-*/*.wandb")) for record in records(file)]
    return [
        {
            (item.key or item.nested_key[0]): json.loads(item.value_json)
            for item in history.item
            if not (item.key or item.nested_key[0]).startswith("_")
        }
        for history in found
        if history.item
    ]


def begun(workdir: Path) -> list[Any]:
    """Returns what each start of a run said of it."""
    files = sorted(workdir.glob("wandb/offline-run-*/*.wandb"))
    return [record.run for file in files for record in records(file) if record.WhichOneof("record_type") == "run"]


def test_a_run_that_is_killed_is_one_run_there_with_every_row_once(finished: Finished, tmp_path: Path) -> None:
    words = ("train", finished.config, f"--workdir={tmp_path}", "--log=wandb")
    process = start(*words, environment=OFFLINE)
    await_lines(process, tmp_path, 40)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = recorded(tmp_path)
    answer = launch(*words, environment=OFFLINE)
    assert answer.code == 0, answer.err
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished.workdir / "metrics.jsonl").read_bytes()
    lines, sent = read_jsonl(tmp_path / "metrics.jsonl"), rows(tmp_path)
    # What it had not written when both processes were killed is in metrics.jsonl alone.
    assert [row for row in sent if row in lines[before:]] == lines[before:]
    assert len({json.dumps(row, sort_keys=True) for row in sent}) == len(sent)
    assert len({run.run_id for run in begun(tmp_path)}) == 1
    assert {run.project for run in begun(tmp_path)} == {"attention_jax"}


@pytest.mark.long
def test_the_cells_of_a_study_are_a_group_and_logging_trains_none_again(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", {**RECALL, "steps": 10})
    words = ("compare", config, f"--workdir={tmp_path / 'study'}", "--seeds=0,1", "--workers=0")
    answer = launch(*words, "--log=wandb", environment=OFFLINE)
    assert answer.code == 0, answer.err
    cells = sorted((tmp_path / "study" / "runs" / "recall").glob("*/*"))
    runs = [begun(cell)[0] for cell in cells]
    assert [(run.run_group, run.job_type) for run in runs] == [("study", "study")] * 2
    assert [run.display_name for run in runs] == ["recall/scaled_dot/0", "recall/scaled_dot/1"]
    assert [rows(cell) for cell in cells] == [read_jsonl(cell / "metrics.jsonl") for cell in cells]
    shutil.rmtree(tmp_path / "study" / "runs")
    again = launch(*words, environment=OFFLINE)
    assert again.code == 0, again.err
    assert "keeping the results of 2 of 2 runs" in again.err


def test_a_log_that_there_is_not_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", RECALL)
    (answer,) = answers([["train", config, f"--workdir={tmp_path / 'W'}", "--log=wnadb"]], environment={})
    assert_refused(answer, ("no log 'wnadb'", "Did you mean 'wandb'?"), about=answer)
