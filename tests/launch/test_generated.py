"""The documented commands on generated benchmarks."""

from pathlib import Path

from tests.data.synthetic.small import experiment_on
from tests.launch.command_line import launch, read_jsonl, write_config

# Batches of one length each; and padded ones, longer in test.
NAMES = ("needle", "parity")


def test_a_comparison_trains_on_each_kind_of_them(tmp_path: Path) -> None:
    benchmarks = {name: experiment_on(name) for name in NAMES}
    benchmarks["needle"]["task"]["slices"] = ("length", "needle_depth")
    sections = {"variants": ("linear",), "seeds": (0,), "benchmarks": benchmarks}
    config = write_config(tmp_path / "generated.py", sections)
    answer = launch("compare", config, f"--workdir={tmp_path / 'study'}", "--workers=0")
    assert answer.code == 0, answer.err
    for name in NAMES:
        assert name in answer.out
    (losses,) = (tmp_path / "study").glob("runs/needle/*/*/metrics.jsonl")
    assert {"test_accuracy[length=8-15]", "test_accuracy[length=16-31]"} <= read_jsonl(losses)[-1].keys()
