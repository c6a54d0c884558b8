"""The command of one run: what it keeps of the comparison's, and what it sets."""

import shlex
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from attention_jax.study.comparison.cell_command import cell_command
from attention_jax.study.comparison.plan import Trial
from attention_jax.study.comparison.variation import ATTENTION, Variation, choices
from attention_jax.training.config import complete

MQAR = complete(
    ConfigDict(
        {
            "data": {"name": "mqar"},
            "task": {"name": "token_prediction"},
            "model": {"name": "gpt"},
            "optimizer": {"learning_rate": 1e-3},
            "batch_size": 8,
            "steps": 2,
        }
    ),
    owner="of the test",
)
TRIAL = Trial("mqar", "performer:features=64", 1)


def test_it_keeps_what_is_trained_and_replaces_what_was_chosen():
    command = cell_command(
        "python launch.py compare --config=experiments/demo.py --variants=linear,performer:features=64 --seeds 0,1 "
        "--workdir 'my runs' --config.benchmarks.mqar.steps=9 --retry=failed --workers=2 --storage=x",
        TRIAL,
        vary="model.attention",
        entry=TRIAL.variant,
        seed=1,
        keys={},
        workdir=Path("my runs"),
    )
    assert shlex.split(command) == [
        *("python", "launch.py", "compare", "--config=experiments/demo.py", "--config.benchmarks.mqar.steps=9"),
        *(
            "--benchmarks=mqar",
            "--vary=model.attention",
            "--variants=performer:features=64",
            "--seeds=1",
            "--workers=1",
        ),
        "--workdir=my runs/alone/runs/mqar/performer%3Afeatures=64/1",
    ]


def test_what_was_tuned_is_set_and_not_tuned_again():
    command = cell_command(
        "python launch.py compare --config=tuned.py --tune optimizer.learning_rate=[1e-3,1e-2] --trials=2",
        TRIAL,
        vary="model.attention",
        entry="linear",
        seed=0,
        keys={"optimizer.learning_rate": 0.01},
        workdir=Path("W"),
    )
    words = shlex.split(command)
    assert words[:4] == ["python", "launch.py", "compare", "--config=tuned.py"]
    assert words[-2:] == ["--tune=", "--config.optimizer.learning_rate=0.01"]
    assert "--trials=2" not in words


@pytest.mark.parametrize(
    ("key", "text", "entries"),
    [
        (ATTENTION, "scaled_dot,b:=scaled_dot", ["scaled_dot", "b:=scaled_dot"]),
        ("model.num_heads", "1,again:=2", ["1", "again:=2"]),
    ],
)
def test_an_entry_is_what_the_option_reads_again(key, text, entries):
    variation = Variation(key, choices(key, text), {"mqar": MQAR})
    assert [variation.entry_of(label) for label in variation.labels] == entries
    for label in variation.labels:
        (alone,) = choices(key, variation.entry_of(label))
        assert alone.label == label


def test_a_variant_against_itself_is_trained_alone_with_the_seed_of_its_own():
    both, alone = (
        Variation(ATTENTION, choices(ATTENTION, text), {"mqar": MQAR})
        for text in ("scaled_dot,b:=scaled_dot", "b:=scaled_dot")
    )
    config = both.config_of("mqar", "b:=scaled_dot", 0)
    assert config["seed"] != 0
    assert alone.config_of("mqar", "b:=scaled_dot", config["seed"]) == config
