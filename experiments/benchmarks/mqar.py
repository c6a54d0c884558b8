"""Multi-query associative recall on the first two points of Zoology's grid, (64, 4) and (128, 8), by bare kernels.

Command: python launch.py compare --config=experiments/benchmarks/mqar.py (with ":n128_d8" behind it for the second)
Seen: scaled_dot at (64, 4) ends at step 1800 with 99.6%, after 3 minutes of one core of an AMD EPYC; its learning rate
is of a grid of which ":tuning" tries all for every variant, which was not yet run whole. The published order of the
others comes with the recipes of their papers around them, a short convolution above all; here delta_net goes without.
"""

from typing import Any

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Reproduction

RESULTS = (
    Reproduction(
        system="Recall by five bare kernels, (64, 4)",
        data="MQAR of 64 tokens with 4 pairs, 8192 words, fillers 0",
        core_minutes=25,
        metric="test_accuracy",
        expected={"mqar / scaled_dot": Expected(0.995, tolerance=0.005)},
    ),
    Reproduction(
        system="Recall by five bare kernels, (128, 8)",
        data="MQAR of 128 tokens with 8 pairs, 8192 words, fillers 0",
        core_minutes=60,
        argument="n128_d8",
        metric="test_accuracy",
        expected={"mqar / scaled_dot": Expected(0.995, tolerance=0.005)},
    ),
)
VARIANTS = ("scaled_dot", "sliding_window:window=16", "linear", "performer:features=64", "delta_net:recipe=none")


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison; "n128_d8" is the longer one, "tuning" the search for learning rates of the shorter."""
    length, pairs = (128, 8) if arg == "n128_d8" else (64, 4)
    config = {"variants": VARIANTS, "seeds": (0, 1, 2), "benchmarks": {"mqar": _mqar(length=length, pairs=pairs)}}
    if arg == "tuning":
        space = {"optimizer": {"learning_rate": [1e-4, 4.6e-4, 2.2e-3, 1e-2]}}
        config = {**config, "seeds": (100,), "tune": {"space": space}}
    return ConfigDict(config)


def _mqar(*, length: int, pairs: int) -> dict[str, Any]:
    """Fillers are zero, as in the configs of the paper's Figure 2; a run ends at 99%."""
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
