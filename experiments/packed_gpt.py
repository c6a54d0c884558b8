"""A character GPT on the e-mails of aeslc, packed into rows of 512 characters: no e-mail sees another.

Command: python launch.py train --config=experiments/packed_gpt.py --workdir=runs/packed_gpt
Not run to its end yet, so there is no score: 1.4 steps/s on 2 cores of an AMD EPYC beside other work, about 12 minutes.
Needs: TFDS_DATA_DIR with aeslc prepared (python launch.py prepare aeslc).
99.3% of the tokens are not padding; one e-mail in a row leaves 76%, or 89% in buckets of 64, 128, 256 and 512.
"""

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Reproduction

RESULTS = (
    Reproduction(
        system="GPT on packed documents",
        data="aeslc, characters of e-mails in rows of 512",
        core_minutes=24,
        metric="validation_loss",
    ),
)


def get_config() -> ConfigDict:
    """Returns 4 layers, 4 heads, width 128, context 512, batch 8, 1000 steps, no dropout."""
    return ConfigDict(
        {
            "data": {"name": "tfds_documents", "dataset": "aeslc", "field": "email_body", "context": 512},
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
            "batch_size": 8,
            "steps": 1000,
            "evaluation": {"every": 500, "batch_size": 16},
            "checkpoint": {"every": 250},
        }
    )
