"""Recall in five forms, by attention, linear recurrences and the delta rule, at a size for CPUs.

Command: python launch.py compare --config=experiments/benchmarks/recall.py
75 runs of 1000 steps; not yet run whole. Each variant has the recipe of its paper. The short convolution in that of the
recurrences matters here, as it shifts a key onto its value; "delta_net:recipe=none" goes without it.
"""

from typing import Any

from ml_collections import ConfigDict

SPLITS = {"train_examples": 50_000, "validation_examples": 1_000, "test_examples": 2_000}


def get_config() -> ConfigDict:
    """Returns the comparison."""
    mqar = {"vocabulary_size": 256, "length": 64, "fillers": "zero"}
    return ConfigDict(
        {
            "variants": ("scaled_dot", "linear", "mamba2", "delta_net", "gated_delta_net"),
            "seeds": (0, 1, 2),
            "benchmarks": {
                "mqar": _recall({"name": "mqar", **mqar, "pairs": 8}, slices=("distance",)),
                "compositional": _recall(
                    {"name": "compositional_mqar", **mqar, "pairs": (4, 9)}, slices=("pairs", "position")
                ),
                "forgetting": _recall({"name": "forgetting_mqar", **mqar}, slices=("occurrences",)),
                "stacked": _recall({"name": "stacked_mqar", "vocabulary_size": 256, "pairs": 16}, slices=()),
                "by_distance": _recall({"name": "associative_recall", "vocabulary_size": 256}, slices=("distance",)),
            },
        }
    )


def _recall(data: dict[str, Any], *, slices: tuple[str, ...]) -> dict[str, Any]:
    return {
        "data": {**data, **SPLITS},
        "task": {"name": "token_prediction", "metric": "accuracy", "slices": slices},
        "model": {"name": "gpt", "num_layers": 2, "num_heads": 1, "width": 64, "init_stddev": 0.125},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 3e-3,
            "schedule": {"name": "warmup_cosine", "warmup_steps": 50},
            "weight_decay": 0.1,
        },
        "batch_size": 64,
        "steps": 1000,
        "evaluation": {"every": 200, "batch_size": 250},
        "log": {"every": 20},
    }
