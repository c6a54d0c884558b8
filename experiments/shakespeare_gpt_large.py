"""A larger character GPT on tiny_shakespeare: 6 layers of width 256, rotary positions, dropout; the best checkpoint.

Command: python launch.py train --config=experiments/shakespeare_gpt_large.py --workdir=runs/shakespeare_gpt_large
Not run whole yet: the bar is a validation loss of 1.50 nats/char. nanoGPT publishes 1.4697 for 6 layers of width 384
and 16384 characters a step, four times these, on its own validation split.
Needs: TFDS_DATA_DIR with tiny_shakespeare prepared (python launch.py prepare tiny_shakespeare).
"""

import math

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Figure, Reproduction

RESULTS = (
    Reproduction(
        system="GPT, 6 layers of width 256",
        data="tiny_shakespeare, characters",
        core_minutes=110,
        metric="validation_loss",
        bar=1.50,
        floor=Figure(math.log(65), "all 65 characters alike"),
        reference=Figure(1.669, "5-gram model"),
        published=Figure(1.4697, "nanoGPT, 6 layers of width 384, its own validation split"),
    ),
)


def get_config() -> ConfigDict:
    """Returns 6 layers, 4 heads, width 256, context 128, batch 32, 4000 steps with dropout 0.2: 16 epochs."""
    return ConfigDict(
        {
            "data": {"name": "tfds_characters", "dataset": "tiny_shakespeare", "context": 128},
            "task": {"name": "token_prediction"},
            "model": {
                "name": "gpt",
                "num_layers": 6,
                "num_heads": 4,
                "width": 256,
                "positions": "rope",
                "dropout_rate": 0.2,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 100, "final_fraction": 0.03},
                "weight_decay": 0.1,
                "b2": 0.99,
                "clip_norm": 1.0,
            },
            "batch_size": 32,
            "steps": 4000,
            "evaluation": {"every": 250, "batch_size": 64},
            "checkpoint": {"every": 250, "best": True},
        }
    )
