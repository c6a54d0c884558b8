"""Induction heads with two layers: the token after the first mark, asked for at the second, 64 tokens long.

Command: python launch.py train --config=experiments/benchmarks/induction_heads.py --workdir=runs/induction_heads
Seen: 99.97% of the test split at step 1000, where the run ends by its target, after 1m41s of one core of an AMD EPYC.
"""

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Figure, Reproduction

RESULTS = (
    Reproduction(
        system="GPT of 2 layers on induction heads",
        data="64 tokens of 16 words, the mark twice",
        core_minutes=2,
        metric="test_accuracy",
        expected=Expected(0.997, tolerance=0.005),
        bar=0.99,
        floor=Figure(0.067, "one word of 15"),
    ),
)


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
