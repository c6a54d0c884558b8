"""Six attention variants, one of them a control without attention, on recall and on handwritten digits.

Command: python launch.py compare --config=experiments/demo.py (or: make demo)
Seen: 3m33s on 2 quiet cores of an AMD EPYC, from an empty cache; every run is in docs/results/demo.jsonl.
The learning rates below are those of `--config=experiments/demo.py:tuning`, which tries four for each variant on each
benchmark and chooses on the validation split; every trial is in docs/results/demo_tuning.jsonl.
"""

from typing import Any

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Reproduction

RESULTS = (
    Reproduction(
        system="Six attention variants on recall and on digits",
        data="stacked MQAR of 24 pairs, and scikit-learn's digits as 16 patches",
        core_minutes=1.5,
        metric="test_accuracy",
        control="uniform",
        seeds=(0, 1, 2, 3, 4),
        expected={
            "recall / scaled_dot": Expected(1.0, tolerance=0.02),
            "recall / additive:hidden=8": Expected(1.0, tolerance=0.02),
            "recall / linear": Expected(0.788, tolerance=0.08),
            "recall / performer:features=64": Expected(0.384, tolerance=0.4),
            "recall / sliding_window:window=8": Expected(0.032, tolerance=0.02),
            "recall / uniform": Expected(0.042, tolerance=0.02),
            "digits / scaled_dot": Expected(0.907, tolerance=0.05),
            "digits / additive:hidden=8": Expected(0.900, tolerance=0.05),
            "digits / linear": Expected(0.941, tolerance=0.05),
            "digits / performer:features=64": Expected(0.919, tolerance=0.05),
            "digits / sliding_window:window=8": Expected(0.832, tolerance=0.06),
            "digits / uniform": Expected(0.658, tolerance=0.08),
        },
    ),
)
VARIANTS = (
    "scaled_dot",
    "additive:hidden=8",
    "linear",
    "performer:features=64",
    "sliding_window:window=8",
    "uniform",
)
TUNED = {
    "recall": (3e-3, 3e-3, 3e-3, 3e-3, 1e-3, 1e-2),
    "digits": (3e-3, 3e-2, 1e-2, 3e-3, 1e-2, 1e-2),
}


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, or with the argument "tuning" the search for its learning rates."""
    config: dict[str, Any] = {"variants": VARIANTS, "benchmarks": {"recall": _recall(), "digits": _digits()}}
    if arg == "tuning":
        space = {"optimizer": {"learning_rate": [1e-3, 3e-3, 1e-2, 3e-2]}}
        return ConfigDict({**config, "seeds": (100,), "tune": {"space": space}})
    tuned = tuple(
        (benchmark, variant, f"optimizer.learning_rate={rate:g}")
        for benchmark, rates in TUNED.items()
        for variant, rate in zip(VARIANTS, rates, strict=True)
    )
    return ConfigDict({**config, "seeds": (0, 1, 2, 3, 4), "tuned": tuned})


def _recall() -> dict[str, Any]:
    """24 pairs of a key and its value at one place, then every key again: nothing but memory is asked for."""
    return {
        "data": {
            "name": "stacked_mqar",
            "vocabulary_size": 64,
            "pairs": 24,
            "train_examples": 20_000,
            "validation_examples": 1_000,
            "test_examples": 1_000,
        },
        "task": {"name": "token_prediction", "metric": "accuracy"},
        "model": {"name": "gpt", "num_layers": 1, "num_heads": 1, "width": 32, "init_stddev": 0.125},
        "optimizer": _optimizer(),
        "batch_size": 64,
        "steps": 700,
        "evaluation": {"every": 100, "batch_size": 250},
        "log": {"every": 20},
    }


def _digits() -> dict[str, Any]:
    """scikit-learn's 8 x 8 digits, read as 16 patches of 2 x 2 pixels."""
    return {
        "data": {"name": "digits", "form": "image"},
        "task": {"name": "classification"},
        "model": {"name": "vit", "patch": 2, "num_layers": 1, "num_heads": 4, "width": 64},
        "optimizer": _optimizer(),
        "batch_size": 32,
        "steps": 800,
        "evaluation": {"every": 100, "batch_size": 180},
        "log": {"every": 20},
    }


def _optimizer() -> dict[str, Any]:
    schedule = {"name": "warmup_cosine", "warmup_steps": 50}
    return {"name": "adamw", "learning_rate": 3e-3, "schedule": schedule, "weight_decay": 0.1}
