r"""A language model in both directions over words as their characters, on UD English EWT and film reviews.

Command: TEXTS_DATA_DIR=DIR python launch.py train --config=experiments/ud_bilm.py --workdir=runs/ud_bilm
Needs: TFDS_DATA_DIR with universal_dependencies/en_ewt prepared, and DIR with movie_reviews/movie_reviews.zip, Pang &
Lee's reviews as NLTK packs them. Its layers are what experiments/ud_tagger.py:bilm reads. Not run whole yet.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns two LSTMs of width 128 in each direction; the loss of the dev sentences decides."""
    return ConfigDict(
        {
            "data": {
                "name": "sentences",
                "dataset": "universal_dependencies/en_ewt",
                "train": "train",
                "validation": "dev",
                "texts": ("movie_reviews/movie_reviews.zip",),
                "context": 60,
                "characters": 20,
                "min_count": 20,
                "buckets": 4,
            },
            "task": {"name": "bidirectional_lm"},
            "model": {"name": "bilm", "bilm": {"num_layers": 2, "width": 128, "filters": 128}},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 200},
                "weight_decay": 0.01,
                "clip_norm": 5.0,
            },
            "batch_size": 32,
            "steps": 4000,
            "evaluation": {"every": 1000, "batch_size": 64},
            "log": {"every": 100},
        }
    )
