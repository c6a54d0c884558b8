r"""BiDAF on XQuAD's English questions: that SQuAD's format is read and scored, not how good BiDAF is.

Command: TEXTS_DATA_DIR=DIR python launch.py train --config=experiments/xquad_bidaf.py --workdir=runs/xquad_bidaf
DIR has a folder xquad_en with xquad.en.json; ":tfds" behind the file reads TFDS's xquad/en in its place, the same
questions in another order. XQuAD is a test set of 240 paragraphs and 1190 questions: seven tenths of its own paragraphs
are trained on, and a fifth is the test. SQuAD has a hundred times as many questions.
Seen: F1 0.061 and exact match 0.013 on test, seed 0, in 2 minutes of one core of an AMD EPYC: no more than before
training. The validation loss rises from step 200 on: so few questions are learned by heart.
"""

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Expected, Figure, Reproduction

RESULTS = (
    Reproduction(
        system="BiDAF, LSTMs of width 32, trained on 830 questions",
        data="XQuAD en, a fifth of its paragraphs",
        core_minutes=2,
        metric="test_f1",
        expected=Expected(0.061, tolerance=0.04),
        floor=Figure(0, "no word in common"),
        published=Figure(0.773, "BiDAF trained on SQuAD's 87 599 questions, on SQuAD's own test"),
    ),
)


def get_config(source: str = "file") -> ConfigDict:
    """Returns a small BiDAF on passages of at most 300 tokens.

    Args:
      source: file or tfds.
    """
    if source not in ("file", "tfds"):
        raise Refused(f"xquad_bidaf.py reads a file or tfds, not {source!r}.")
    of_file = {"folder": "xquad_en", "train": "xquad.en.json"}
    lstm = {"cell": "lstm", "width": 32, "bidirectional": True}
    return ConfigDict(
        {
            "data": {
                "name": "spans",
                **(of_file if source == "file" else {"dataset": "xquad/en", "train": "test"}),
                "passage_length": 300,
                "question_length": 24,
                "characters": 10,
                "min_count": 2,
                "buckets": 2,
                "validation_fraction": 0.1,
                "test_fraction": 0.2,
            },
            "task": {"name": "span_extraction", "longest": 12},
            "model": {
                "name": "bidaf",
                "width": 32,
                "filters": 32,
                "encoder": lstm,
                "modelling": {**lstm, "num_layers": 1},
                "dropout_rate": 0.3,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 50},
                "weight_decay": 0.01,
                "clip_norm": 5.0,
            },
            "ema_decay": 0.98,
            "batch_size": 16,
            "steps": 500,
            "evaluation": {"every": 100, "batch_size": 32},
            "log": {"every": 20},
        }
    )
