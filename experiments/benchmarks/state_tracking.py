"""Parity, words of S3 and flip-flop, tested on longer strings or other rates than trained on, at a size for CPUs.

Command: python launch.py compare --config=experiments/benchmarks/state_tracking.py
45 runs of 1000 steps; not yet run whole. Positions are randomized, since learned ones that training never meets would
decide the test. The recurrences here have transitions with eigenvalues in [0, 1], which by Grazzi et al. (arXiv
2411.12537) solve parity at no length that they were not trained on: the comparison is the baseline for those that do.
"""

from typing import Any

from ml_collections import ConfigDict

SPLITS = {"train_examples": 50_000, "validation_examples": 1_000, "test_examples": 1_000}


def get_config() -> ConfigDict:
    """Returns the comparison."""
    parity = {"longest": 20, "test_shortest": 20, "test_longest": 80, "answers": "each", "positions": "randomized"}
    words = {"group": "S3", "length": 16, "test_length": 64, "positions": "randomized"}
    return ConfigDict(
        {
            "variants": ("scaled_dot", "linear", "mamba2", "delta_net", "gated_delta_net"),
            "seeds": (0, 1, 2),
            "benchmarks": {
                "parity": _tracking({"name": "parity", **parity}, slices=("position",)),
                "s3": _tracking({"name": "group_words", **words}, slices=("position",)),
                "flip_flop": _tracking({"name": "flip_flop"}, slices=("write_distance",)),
            },
        }
    )


def _tracking(data: dict[str, Any], *, slices: tuple[str, ...]) -> dict[str, Any]:
    return {
        "data": {**data, **SPLITS},
        "task": {"name": "token_prediction", "metric": "accuracy", "slices": slices},
        "model": {"name": "gpt", "num_layers": 2, "num_heads": 2, "width": 64, "init_stddev": 0.125},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 1e-3,
            "schedule": {"name": "warmup_cosine", "warmup_steps": 50},
            "weight_decay": 0.01,
        },
        "batch_size": 64,
        "steps": 1000,
        "evaluation": {"every": 200, "batch_size": 250},
        "log": {"every": 20},
    }
