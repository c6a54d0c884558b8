"""A character GPT on tiny_shakespeare, in the shape that nanoGPT publishes for a CPU.

Command: python launch.py train --config=experiments/shakespeare_gpt.py --workdir=runs/shakespeare_gpt
Seen: validation loss 1.743 nats/char, test 1.814, seed 0, in 2m26s on 2 cores of an AMD EPYC that other work shared;
nanoGPT publishes 1.88 for this shape, with a learning rate of 1e-3, on its own validation split.
Needs: TFDS_DATA_DIR with tiny_shakespeare prepared (python launch.py prepare tiny_shakespeare).
"""

import math

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Figure, Reproduction

RESULTS = (
    Reproduction(
        system="GPT, nanoGPT's CPU shape",
        data="tiny_shakespeare, characters",
        core_minutes=5,
        metric="validation_loss",
        expected=Expected(1.743, tolerance=0.03),
        bar=1.75,
        floor=Figure(math.log(65), "all 65 characters alike"),
        reference=Figure(1.669, "5-gram model"),
        published=Figure(1.88, "nanoGPT, learning rate 1e-3, its own validation split"),
    ),
)


def get_config() -> ConfigDict:
    """Returns nanoGPT's CPU shape: 4 layers, 4 heads, width 128, context 64, batch 12, 2000 steps, no dropout."""
    return ConfigDict(
        {
            "data": {"name": "tfds_characters", "dataset": "tiny_shakespeare", "context": 64},
            "task": {"name": "token_prediction"},
            "model": {"name": "gpt", "attention": "scaled_dot", "num_layers": 4, "num_heads": 4, "width": 128},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 3e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 100, "final_fraction": 0.03},
                "weight_decay": 0.1,
                "b2": 0.99,
                "clip_norm": 1.0,
            },
            "batch_size": 12,
            "steps": 2000,
            "evaluation": {"every": 250, "batch_size": 64},
            "checkpoint": {"every": 250},
        }
    )
