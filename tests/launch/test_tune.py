"""A comparison whose config has patches and a tuning, from the command to the report, and one seed more."""

import json
import re
from pathlib import Path

import pytest

from tests.launch.command_line import RECALL, Answer, launch, read_jsonl, write_config

BRIEF = {**RECALL, "steps": 10, "evaluation": {"every": 5}, "log": {"every": 5}}
WIDE = "wide:=model.width=32"
TUNED = {
    "benchmarks": {"recall": BRIEF},
    "patches": {"plain": {}, "wide": {"model": {"width": 32}}},
    "tune": {"space": {"optimizer": {"learning_rate": [1e-3, 1e-2]}}},
    "seeds": (0, 1),
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], Path, Answer]:
    """The words and the folder of a comparison that has run, and its answer."""
    folder = tmp_path_factory.mktemp("tuned")
    words = ("compare", write_config(folder / "tuned.py", TUNED), f"--workdir={folder / 'W'}", "--workers=0")
    return words, folder / "W", launch(*words)


def trained(answer: Answer) -> list[str]:
    """Returns what a comparison says it trained."""
    return re.findall(r"^\[\d+\] recall / (.+): training$", answer.out + answer.err, re.MULTILINE)


def test_the_best_rate_of_each_patch_is_trained_on_the_seeds_and_tested(compared):
    _, workdir, answer = compared
    assert answer.code == 0, answer.err
    assert len(trained(answer)) == 2 * (2 + 2)
    results, trials = read_jsonl(workdir / "results.jsonl"), read_jsonl(workdir / "tuning.jsonl")
    assert [(line["variant"], line["seed"]) for line in results] == [
        ("plain", 0), ("plain", 1), (WIDE, 0), (WIDE, 1)
    ]  # fmt: skip
    for line in results:
        mine = [trial for trial in trials if trial["variant"] == line["variant"]]
        best = min(mine, key=lambda trial: trial["score"])
        assert [trial["chosen"] for trial in mine] == [trial is best for trial in mine]
        assert line["point"] == best["point"]
        config = json.loads((workdir / line["log"]).with_name("config.json").read_text())
        assert config["optimizer"]["learning_rate"] == best["point"]["optimizer.learning_rate"]
        assert config["model"]["width"] == (32 if line["variant"] == WIDE else 16)
        metrics = read_jsonl((workdir / line["log"]).with_name("metrics.jsonl"))
        assert (line["metric"], line["score"]) == ("test_loss", metrics[-1]["test_loss"])


def test_what_is_searched_never_sees_the_test_split(compared):
    _, workdir, answer = compared
    for trial in read_jsonl(workdir / "tuning.jsonl"):
        metrics = read_jsonl((workdir / trial["log"]).with_name("metrics.jsonl"))
        assert not [name for line in metrics for name in line if name.startswith("test_")]
        assert (trial["metric"], trial["score"]) == ("validation_loss", metrics[-1]["validation_loss"])
    assert not re.search(r"tuning \(.*test_", answer.err)


def test_the_reports_show_the_tuning_and_the_size(compared):
    _, workdir, answer = compared
    out = " ".join(answer.out.split())
    assert f"tuning on recall: {WIDE}: learning_rate 0.01" in out
    assert "Not of the reference's size" in out
    report = json.loads((workdir / "report.json").read_text())
    assert [one["variant"] for one in report["tuning"]] == ["plain", WIDE]
    assert "## Tuning: recall" in (workdir / "report.md").read_text()
    assert '<div class="chart" id="tuning0">' in (workdir / "report.html").read_text()


@pytest.mark.long
def test_a_seed_more_trains_it_alone(compared):
    words, workdir, _ = compared
    before = read_jsonl(workdir / "results.jsonl")
    answer = launch(*words, "--seeds=0,1,2")
    assert answer.code == 0, answer.err
    assert trained(answer) == ["plain / seed 2", f"{WIDE} / seed 2"]
    after = read_jsonl(workdir / "results.jsonl")
    assert [line for line in after if line["seed"] < 2] == before
