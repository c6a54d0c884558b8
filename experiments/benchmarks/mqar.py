"""Multi-query associative recall on the first two points of Zoology's grid, at its width of 64, by bare kernels.

Command: python launch.py compare --config=experiments/benchmarks/mqar.py
The learning rates are those of `--config=experiments/benchmarks/mqar.py:tuning`.
"""

from typing import Any

from ml_collections import ConfigDict

VARIANTS = ("scaled_dot", "sliding_window:window=16", "linear", "performer:features=64", "delta_net")


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, or with the argument "tuning" the search for its learning rates."""
    benchmarks = {"n64_d4": _mqar(length=64, pairs=4), "n128_d8": _mqar(length=128, pairs=8)}
    if arg == "tuning":
        space = {"optimizer": {"learning_rate": [1e-4, 4.6e-4, 2.2e-3, 1e-2]}}
        return ConfigDict({"variants": VARIANTS, "seeds": (100,), "benchmarks": benchmarks, "tune": {"space": space}})
    return ConfigDict({"variants": VARIANTS, "seeds": (0, 1, 2), "benchmarks": benchmarks})


def _mqar(*, length: int, pairs: int) -> dict[str, Any]:
    """Fillers are zero, as in the configs of the paper's Figure 2."""
    return {
        "data": {"name": "mqar", "vocabulary_size": 8192, "length": length, "pairs": pairs, "fillers": "zero"},
        "task": {"name": "token_prediction", "metric": "accuracy", "slices": ("distance",)},
        "model": {"name": "gpt", "num_layers": 2, "num_heads": 1, "width": 64},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 2.2e-3,
            "schedule": {"name": "warmup_cosine", "warmup_steps": 100},
            "weight_decay": 0.1,
        },
        "batch_size": 64,
        "steps": 3000,
        "evaluation": {"every": 200, "batch_size": 250, "target": 0.99},
        "log": {"every": 50},
    }
