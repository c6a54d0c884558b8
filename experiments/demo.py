"""Six attention variants, one of them a control without attention, on recall and on handwritten digits.

Command: python launch.py compare --config=experiments/demo.py (or: make demo)
Seen: 2m31s on 2 quiet cores of an AMD EPYC, 1m53s once compiled; the table in docs/studies.md is of an older run.
"""

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Reproduction

RESULTS = (
    Reproduction(
        system="Six attention variants on recall and on digits",
        data="MQAR of 16 tokens with 4 pairs, and scikit-learn's digits pixel by pixel",
        core_minutes=4.5,
        metric="test_accuracy",
        control="uniform",
        expected={
            "mqar / scaled_dot": Expected(1.0, tolerance=0.02),
            "mqar / additive:hidden=8": Expected(0.380, tolerance=0.05),
            "mqar / sliding_window:window=8": Expected(0.825, tolerance=0.1),
            "mqar / linear": Expected(0.382, tolerance=0.05),
            "mqar / performer:features=64": Expected(0.380, tolerance=0.05),
            "mqar / uniform": Expected(0.336, tolerance=0.05),
            "digits / scaled_dot": Expected(0.857, tolerance=0.06),
            "digits / additive:hidden=8": Expected(0.886, tolerance=0.06),
            "digits / sliding_window:window=8": Expected(0.890, tolerance=0.06),
            "digits / linear": Expected(0.871, tolerance=0.06),
            "digits / performer:features=64": Expected(0.810, tolerance=0.06),
            "digits / uniform": Expected(0.319, tolerance=0.06),
        },
    ),
)

OPTIMIZER = {
    "name": "adamw",
    "learning_rate": 3e-3,
    "schedule": {"name": "warmup_cosine", "warmup_steps": 50},
    "weight_decay": 0.1,
}


def get_config() -> ConfigDict:
    """Returns the comparison."""
    return ConfigDict(
        {
            "variants": (
                "scaled_dot",
                "additive:hidden=8",
                "sliding_window:window=8",
                "linear",
                "performer:features=64",
                "uniform",
            ),
            "seeds": (0, 1),
            "benchmarks": {"mqar": _mqar(), "digits": _digits()},
        }
    )


def _mqar() -> dict:
    return {
        "data": {
            "name": "mqar",
            "vocabulary_size": 32,
            "length": 16,
            "pairs": 4,
            "train_examples": 20_000,
            "validation_examples": 1_000,
            "test_examples": 1_000,
        },
        "task": {"name": "token_prediction", "metric": "accuracy"},
        "model": {"name": "gpt", "num_layers": 2, "num_heads": 1, "width": 64, "init_stddev": 0.125},
        "optimizer": OPTIMIZER,
        "batch_size": 64,
        "steps": 500,
        "evaluation": {"every": 100, "batch_size": 250},
        "log": {"every": 20},
    }


def _digits() -> dict:
    return {
        "data": {"name": "digits"},
        "task": {"name": "classification"},
        "model": {"name": "encoder_classifier", "num_layers": 2, "num_heads": 2, "width": 64, "init_stddev": 0.25},
        "optimizer": OPTIMIZER,
        "batch_size": 32,
        "steps": 300,
        "evaluation": {"every": 100, "batch_size": 180},
        "log": {"every": 20},
    }
