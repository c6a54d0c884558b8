"""Members through the commands: a study whose worker trains several runs as one."""

from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, launch, read_jsonl, write_config
from tests.launch.test_refusals import answers, assert_refused

BRIEF = {**RECALL, "steps": 10, "evaluation": {"every": 5}, "log": {"every": 5, "tensorboard": False}}


def test_a_comparison_trains_members_and_its_folders_are_those_of_runs(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", BRIEF)
    words = ("--vary=optimizer.learning_rate", "--variants=1e-2,1e-3", "--seeds=0,1", f"--workdir={tmp_path / 'W'}")
    answer = launch("compare", config, *words, "--workers=0", "--members=4")
    assert answer.code == 0, answer.err
    assert answer.err.count("training, one of 4 members") == 4
    assert "on a CPU a step of members takes at least as long as theirs one by one" in answer.err
    assert "4 of 4 runs were trained as one of 4 members: their ms per step and peak memory are of all" in answer.out
    lines = read_jsonl(tmp_path / "W" / "results.jsonl")
    assert [(line["status"], line["members"]) for line in lines] == [("done", 4)] * 4
    (folder,) = (path.parent for path in (tmp_path / "W").glob("runs/*/*1e-3/1/config.json"))
    recorded = read_jsonl(folder / "metrics.jsonl")[-1]
    rate = ("--config.optimizer.learning_rate=1e-3", "--config.seed=1", "--config.mesh.data=1")
    found = launch("eval", config, *rate, f"--workdir={folder}")
    assert found.code == 0, found.err
    assert f"test_accuracy {recorded['test_accuracy']:.6g}" in found.out


@pytest.mark.long
def test_a_sweep_trains_members_and_finds_what_it_finds_without(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", BRIEF)
    words = ("--space=optimizer.learning_rate=[1e-3,1e-2,1e-1]", "--sampler=grid", "--best=1", "--fresh_seeds=2")
    found = []
    for members in (1, 3):
        workdir = tmp_path / str(members)
        answer = launch("sweep", config, *words, f"--workdir={workdir}", f"--members={members}", "--workers=1")
        assert answer.code == 0, answer.err
        found.append(read_jsonl(workdir / "runs" / "trial-0002" / "metrics.jsonl")[-1])
    assert "training, one of 3 members" in answer.err
    assert "training, one of 2 members" in answer.err
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-5)


def test_members_that_cannot_be_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", BRIEF), f"--workdir={tmp_path / 'W'}"
    sweep = ("sweep", config, workdir, "--space=optimizer.learning_rate=[1e-3,1e-2]", "--members=2", "--sampler=grid")
    patient = "--config.evaluation.patience=2"
    cases = [
        (("compare", config, workdir, "--members=0"), "--members=0: give 1 (each run alone) or more."),
        (
            ("compare", config, workdir, "--members=2", patient),
            "evaluation.patience ends each run at a step of its own",
        ),
        (
            ("compare", config, workdir, "--members=2", "--config.checkpoint.best=True"),
            "checkpoint.best scores each run",
        ),
        ((*sweep, patient), "evaluation.patience ends each run at a step of its own: use --members=1."),
        ((*sweep, "--pruner=median"), "a pruner ends each at a step of its own: give --pruner=none or --members=1."),
    ]
    given = answers([list(words) for words, _ in cases], environment={})
    for answer, (words, says) in zip(given, cases, strict=True):
        assert_refused(answer, (says,), about=(words, answer))
    assert not (tmp_path / "W").exists()
