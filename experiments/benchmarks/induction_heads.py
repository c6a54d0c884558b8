"""Induction heads with two layers: the token after the first mark, asked for at the second, 64 tokens long.

Command: python launch.py train --config=experiments/benchmarks/induction_heads.py --workdir=runs/induction_heads
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns 2 layers of width 64 with one head each, trained until 99.5% of the validation split are right."""
    return ConfigDict(
        {
            "data": {"name": "induction_heads", "vocabulary_size": 16, "length": 64},
            "task": {"name": "token_prediction", "metric": "accuracy"},
            "model": {"name": "gpt", "num_layers": 2, "num_heads": 1, "width": 64, "init_stddev": 0.125},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 100},
                "weight_decay": 0.1,
            },
            "batch_size": 64,
            "steps": 4000,
            "evaluation": {"every": 200, "batch_size": 250, "target": 0.995},
            "log": {"every": 50},
        }
    )
