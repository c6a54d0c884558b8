"""The largest seeds train, as the small ones do; one after the other in one process, which compiles anew for each."""

from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.training import Experiment, train
from tests.launch.command_line import RECALL, launch, read_jsonl, write_config
from tests.launch.test_refusals import answers

SECTIONS = {**RECALL, "steps": 2, "evaluation": {"every": 0}, "checkpoint": {"every": 0}}


def test_train_takes_every_seed_there_is(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", SECTIONS)
    seeds = (0, 2**31, 2**32 - 1)
    commands = [
        ["train", config, f"--workdir={tmp_path / str(seed)}", f"--config.seed={seed}", f"--config.data.seed={seed}"]
        for seed in seeds
    ]
    for answer in answers(commands, environment={}):
        assert answer.code == 0, answer.err
    assert len({(tmp_path / str(seed) / "metrics.jsonl").read_text() for seed in seeds}) == 3
    # A run of such a seed goes on, too.
    answer = launch(*commands[-1])
    assert answer.code == 0, answer.err


def test_compare_takes_every_seed_there_is(tmp_path: Path) -> None:
    config = write_config(tmp_path / "recall.py", SECTIONS)
    words = ("--variants=scaled_dot", "--seeds=3000000000,4294967295")
    answer = launch("compare", config, f"--workdir={tmp_path / 'W'}", *words)
    assert answer.code == 0, answer.err
    lines = read_jsonl(tmp_path / "W" / "results.jsonl")
    assert [(line["seed"], line["status"]) for line in lines] == [(3000000000, "done"), (4294967295, "done")]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_leaves_no_folder(tmp_path: Path, seed: int) -> None:
    with pytest.raises(Refused, match=f"seed={seed}: "):
        train(Experiment(**SECTIONS), tmp_path / "W", seed=seed)
    assert not (tmp_path / "W").exists()
