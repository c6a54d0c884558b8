"""The documented commands on generated benchmarks."""

from pathlib import Path

from tests.data.synthetic.small import experiment_on
from tests.launch.command_line import launch, write_config

# One of each kind of batch: of one length each, padded and longer in test, classified.
NAMES = ("needle", "parity", "listops")


def test_a_comparison_trains_on_each_kind_of_them(tmp_path: Path) -> None:
    sections = {"variants": ("linear",), "seeds": (0,), "benchmarks": {name: experiment_on(name) for name in NAMES}}
    config = write_config(tmp_path / "generated.py", sections)
    answer = launch("compare", config, f"--workdir={tmp_path / 'study'}", "--workers=0")
    assert answer.code == 0, answer.err
    for name in NAMES:
        assert name in answer.out
