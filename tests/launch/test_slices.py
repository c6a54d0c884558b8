"""A comparison whose task gives slices, from the command to every report."""

import json
from pathlib import Path

import numpy as np

from attention_jax import data
from tests.launch.command_line import RECALL, launch, read_jsonl, write_config

SLICED = {
    **RECALL,
    "data": {**RECALL["data"], "vocabulary_size": 32, "length": 16, "pairs": (2, 4)},
    "task": {"name": "token_prediction", "metric": "accuracy", "slices": ("pairs", "distance")},
    "steps": 20,
    "checkpoint": {"every": 0},
}
LABELS = ["pairs=2", "pairs=4", "distance=2-3", "distance=4-7", "distance=8-15"]


def test_a_comparison_on_recall_says_where_a_variant_fails(tmp_path: Path) -> None:
    config, workdir = write_config(tmp_path / "recall.py", SLICED), tmp_path / "W"
    words = ("compare", config, "--variants=scaled_dot,uniform", "--seeds=0,1,2", "--workers=0")
    answer = launch(*words, f"--workdir={workdir}")
    assert answer.code == 0, answer.err
    results = read_jsonl(workdir / "results.jsonl")
    options = {key: value for key, value in SLICED["data"].items() if key != "name"}
    test = data.build("mqar", **options).splits["test"]
    asked = np.count_nonzero(test.gather(np.arange(len(test)))["weights"], axis=1)
    share = asked[asked == 2].sum() / asked.sum()
    assert [sorted(line["slices"]) for line in results] == [sorted(LABELS)] * 6
    for line in results:
        of_both = share * line["slices"]["pairs=2"] + (1 - share) * line["slices"]["pairs=4"]
        assert abs(of_both - line["score"]) < 1e-6
    metrics = read_jsonl(workdir / "runs" / "recall" / "uniform" / "0" / "metrics.jsonl")[-1]
    assert set(metrics) == {"step", *(f"test_accuracy[{label}]" for label in LABELS)}
    (benchmark,) = json.loads((workdir / "report.json").read_text())["benchmarks"]
    assert benchmark["slices"]["labels"] == LABELS
    assert benchmark["slices"]["comparisons"]["uniform"]["pairs=4"]["p"] > 0
    assert "### recall: slices" in (workdir / "report.md").read_text()
    assert "<h2>recall: slices</h2>" in (workdir / "report.html").read_text()


def test_a_slicing_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", SLICED)
    answer = launch("compare", config, "--config.task.slices=('pairs','lable')", f"--workdir={tmp_path / 'W'}")
    assert answer.code == 2
    assert answer.err == "error: benchmark recall: there is no slicing 'lable'. Did you mean 'label'?\n"
    assert not (tmp_path / "W").exists()
