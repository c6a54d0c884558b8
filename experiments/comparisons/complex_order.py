"""Complex-order embeddings against sinusoids: Wang et al. 2020, on a translation and on the label of a text.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/complex_order.py \
             --workdir=runs/complex_order (with ":movie_reviews" behind the file for the other)
DIR has the folder multi30k_en_de, see experiments/multi30k_transformer.py, and movie_reviews/movie_reviews.zip, Pang &
Lee's 2000 reviews as NLTK packs them. The control is told of no positions. Seen with seed 0 on one core of an AMD EPYC:
Multi30k, 450 steps, 12 minutes a run: BLEU 23.2 with sinusoids, 21.4 with complex order, 15.9 without positions; film
reviews, 500 steps, 2 minutes: accuracy 0.66, 0.73 and 0.76. Three seeds are not run yet.
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

TRANSLATION = Path(__file__).parent / "multi30k_short.py"
RESULTS = (
    Reproduction(
        system="Complex-order embeddings in a Transformer",
        data="Multi30k, English to German, test 2016, greedy",
        core_minutes=30,
        metric="test_bleu",
        control="none",
    ),
    Reproduction(
        system="Complex-order embeddings in an encoder that classifies",
        data="2000 film reviews, 256 words of each, fold cv9xx as the test",
        argument="movie_reviews",
        core_minutes=10,
        metric="test_accuracy",
        control="none",
    ),
)


def get_config(arg: str = "multi30k") -> ConfigDict:
    """Returns the comparison on "multi30k" or "movie_reviews"; the first entry, sinusoids, is the reference."""
    if arg not in ("multi30k", "movie_reviews"):
        raise Refused(f"complex_order.py compares on multi30k or movie_reviews, not on {arg!r}: give one of these.")
    translates = arg == "multi30k"
    stacks = ("model.encoder", "model.decoder") if translates else ("model",)
    patches = {
        positions: " ".join(f"{stack}.positions={positions}" for stack in stacks)
        for positions in ("complex_order", "none")
    }
    benchmarks = {arg: config.read(str(TRANSLATION)) if translates else _movie_reviews()}
    return ConfigDict({"patches": {"sinusoidal": "", **patches}, "seeds": (0, 1, 2), "benchmarks": benchmarks})


def _movie_reviews() -> dict[str, Any]:
    return {
        "data": {
            "name": "text_folder",
            "path": "movie_reviews/movie_reviews.zip",
            "test_files": "cv9*",
            "context": 256,
            "min_count": 5,
            "too_long": "cut_middle",
        },
        "task": {"name": "classification"},
        "model": {
            "name": "encoder_classifier",
            "positions": "sinusoidal",
            "num_layers": 2,
            "num_heads": 4,
            "width": 64,
            "dropout_rate": 0.3,
            "init_stddev": 0.125,
        },
        "optimizer": {
            "name": "adamw",
            "learning_rate": 1e-3,
            "schedule": {"name": "warmup_cosine", "warmup_steps": 50},
            "weight_decay": 0.1,
        },
        "batch_size": 32,
        "steps": 500,
        "evaluation": {"every": 100, "batch_size": 100},
        "log": {"every": 20},
    }
