"""Runs of a study that have a mesh: eight devices as two workers of four, and what is refused before the first run."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.launch.command_line import RECALL, launch, read_jsonl, write_config
from tests.launch.test_refusals import answers

BRIEF: dict[str, Any] = {**RECALL, "steps": 8, "evaluation": {"every": 8}, "log": {"every": 2}}
MESH = {"data": 1, "fsdp": 2, "tensor": 2}


def test_runs_on_a_mesh_of_four_give_what_one_device_gives(tmp_path: Path) -> None:
    """Two workers of four devices each have the sums of one device but for rounding."""
    spread = write_config(tmp_path / "spread.py", {**BRIEF, "mesh": MESH})
    words = ("compare", "--variants=scaled_dot", "--seeds=0,1")
    of_mesh = ("--devices_per_cell=4", "--workers=2", f"--workdir={tmp_path / 'W'}")
    answer = launch(*words, spread, *of_mesh)
    assert answer.code == 0, answer.err
    assert "2 x 4 devices share" in answer.err
    alone = write_config(tmp_path / "alone.py", BRIEF)
    one = launch(*words, alone, "--workers=0", f"--workdir={tmp_path / 'one'}")
    assert one.code == 0, one.err
    results, expected = (read_jsonl(tmp_path / folder / "results.jsonl") for folder in ("W", "one"))
    assert [line["devices"] for line in results] == [4, 4]
    assert [line["devices"] for line in expected] == [1, 1]
    scores = [line["score"] for line in results]
    assert scores == pytest.approx([line["score"] for line in expected], rel=1e-4)
    for seed in ("0", "1"):
        config = json.loads((tmp_path / "W" / "runs" / "spread" / "scaled_dot" / seed / "config.json").read_text())
        assert config["mesh"] == {**MESH, "sequence": 1}


@pytest.mark.long
def test_a_study_goes_on_with_other_devices_and_keeps_its_results(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", BRIEF), tmp_path / "W"
    words = ("compare", config, f"--workdir={workdir}", "--workers=0", "--variants=scaled_dot")
    assert launch(*words, "--seeds=0").code == 0
    (before,) = read_jsonl(workdir / "results.jsonl")
    answer = launch(*words, "--seeds=0,1", "--devices_per_cell=2")
    assert answer.code == 0, answer.err
    assert "1 of 2 results are of 1 devices a run, here 2" in answer.out
    first, second = read_jsonl(workdir / "results.jsonl")
    assert first == before
    assert (first["devices"], second["devices"]) == (1, 2)


@pytest.mark.long
def test_the_best_of_a_sweep_has_the_mesh_that_it_was_trained_on(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", BRIEF), tmp_path / "W"
    words = ("sweep", config, "--space=model.width=[16]", "--sampler=grid", f"--workdir={workdir}")
    answer = launch(*words, "--best=0", "--devices_per_cell=2", "--workers=0")
    assert answer.code == 0, answer.err
    shown = launch("show", f"--config={workdir / 'best.py'}")
    assert "mesh.data = 2" in shown.out


BAD = [
    (["--devices_per_cell=0"], "--devices_per_cell=0: give at least 1"),
    (["--devices_per_cell=4", "--config.mesh.data=2"], "--devices_per_cell=4: mesh.data=2 takes 2"),
    (["--config.mesh.tensor=2"], "--devices_per_cell=1: mesh.tensor=2 takes 2"),
]


def test_what_does_not_fit_is_one_line_before_the_first_run(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", BRIEF)
    kinds = (["compare"], ["sweep", "--space=model.width=[16,32]"])
    where = f"--workdir={tmp_path / 'W'}"
    commands = [[*kind, config, where, *words] for kind in kinds for words, _ in BAD]
    for (_, said), answer in zip(BAD * 2, answers(commands, environment={}), strict=True):
        assert answer.code == 2, answer.err
        assert len(answer.err.splitlines()) == 1, answer.err
        assert said in answer.err
    assert not (tmp_path / "W").exists()
