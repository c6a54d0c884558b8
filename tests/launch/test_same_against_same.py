"""Real studies of one attention under eight names: hardly any may claim that a name is better or worse."""

import json

import pytest

from tests.launch.command_line import launch, write_config

STUDIES, SEEDS, NAMES = 20, 3, "abcdefgh"
# Of 20 studies of which each errs with 5%, more than 3 do in 1.6% of cases.
MOST_WITH_A_VERDICT = 3
DIGITS = {
    "data": {"name": "digits"},
    "task": {"name": "classification"},
    "model": {"name": "encoder_classifier", "num_layers": 1, "num_heads": 2, "width": 16, "init_stddev": 0.25},
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    "batch_size": 32,
    "steps": 60,
    "evaluation": {"every": 60, "batch_size": 180},
    "checkpoint": {"every": 0},
    "log": {"every": 60, "tensorboard": False},
}


@pytest.mark.long
def test_names_of_one_attention_are_hardly_ever_told_apart(tmp_path):
    config = write_config(tmp_path / "digits.py", DIGITS)
    aliases = ",".join(f"{name}:=scaled_dot" for name in NAMES)
    verdicts = []
    for study in range(STUDIES):
        seeds = ",".join(str(SEEDS * study + place) for place in range(SEEDS))
        workdir = tmp_path / str(study)
        options = (f"--variants={aliases}", f"--seeds={seeds}", f"--workdir={workdir}")
        answer = launch("compare", config, *options)
        assert answer.code == 0, answer.err
        (benchmark,) = json.loads((workdir / "report.json").read_text())["benchmarks"]
        rows = [row for row in benchmark["rows"] if row["comparison"] is not None]
        assert len(rows) == len(NAMES) - 1
        claimed = [row["variant"] for row in rows if row["comparison"]["verdict"] != "not separated"]
        scores = [run for row in benchmark["rows"] for run in row["score"]["runs"]]
        assert len(set(scores)) > SEEDS, "the names are one run"
        print(f"study {study}: {min(scores):.3f} to {max(scores):.3f}, verdicts on {claimed or 'none'}")
        verdicts.append(claimed)
    with_one = sum(map(bool, verdicts))
    print(f"{with_one} of {STUDIES} studies have a verdict")
    assert with_one <= MOST_WITH_A_VERDICT
