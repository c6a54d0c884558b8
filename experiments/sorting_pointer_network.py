"""A pointer network sorts different numbers below 100, read as tokens, by pointing at them.

Command: python launch.py train --config=experiments/sorting_pointer_network.py --workdir=runs/sorting_pointer_network
         ... --config=experiments/sorting_pointer_network.py:20, or :50, for as many numbers
Seen: not run yet.
"""

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Figure, Reproduction

RESULTS = tuple(
    Reproduction(
        system="pointer network, LSTMs of width 256",
        data=f"sorting {length} of 100 numbers",
        name=f"sorting_{length}_pointer_network",
        argument=str(length),
        core_minutes=30,
        metric="test_exact_match",
        bar=0.95 if length == 10 else None,
        floor=Figure(0, "one order of all"),
    )
    for length in (10, 20, 50)
)


def get_config(length: str = "10") -> ConfigDict:
    """Returns a pointer network over so many numbers, which ends when 99% of the validation split are sorted."""
    return ConfigDict(
        {
            "data": {"name": "sorting", "shortest": int(length), "longest": int(length)},
            "task": {"name": "pointing", "metric": "exact_match"},
            "model": {
                "name": "pointer_network",
                "width": 64,
                "encoder": {"cell": "lstm", "width": 64, "bidirectional": True},
                "decoder": {"cell": "lstm", "width": 128},
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 200},
                "weight_decay": 0.0,
                "clip_norm": 2.0,
            },
            "batch_size": 128,
            "steps": 10_000,
            "evaluation": {"every": 500, "batch_size": 500, "target": 0.99},
            "log": {"every": 100},
        }
    )
