r"""Recurrent networks with attention translate image captions from English to German, Multi30k: sacreBLEU.

Command: TEXTS_DATA_DIR=DIR python launch.py train --config=experiments/multi30k_seq2seq.py \
             --workdir=runs/multi30k_seq2seq
         ... --config=experiments/multi30k_seq2seq.py:bahdanau, :none (its twin without attention), or :static (one
         context for all tokens)
DIR has a folder multi30k_en_de, see experiments/multi30k_transformer.py. Not run whole yet.
"""

from typing import Any

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Figure, Reproduction

COPIED = Figure(1, "a copy of the source")
RESULTS = tuple(
    Reproduction(
        name=name,
        argument=argument,
        system=system,
        data="Multi30k, English to German, test 2016",
        core_minutes=100,
        metric="test_bleu",
        bar=bar,
        floor=COPIED,
        published=published,
    )
    for name, argument, system, bar, published in (
        ("multi30k_seq2seq", "luong", "LSTM, Luong's general attention", 30, Figure(33, "a tuned RNN, the lower end")),
        ("multi30k_bahdanau", "bahdanau", "GRU, Bahdanau's attention", 30, Figure(33, "a tuned RNN, the lower end")),
        ("multi30k_without_attention", "none", "LSTM without attention", 15, None),
    )
)
DECODERS: dict[str, dict[str, Any]] = {
    "luong": {"form": "luong", "attention": "general"},
    "none": {"form": "luong", "attention": "none"},
    "static": {"form": "luong", "attention": "static"},
    "bahdanau": {"form": "bahdanau", "attention": "additive"},
}


def get_config(decoder: str = "luong") -> ConfigDict:
    """Returns layers of width 256 in both directions and a decoder of width 512, one vocabulary of 6000 subwords.

    Args:
      decoder: "luong", "bahdanau", "none" or "static".
    """
    published = decoder == "bahdanau"
    return ConfigDict(
        {
            "data": {
                "name": "parallel_texts",
                "folder": "multi30k_en_de",
                "source": "en",
                "target": "de",
                "tests": ("test_2016_flickr", "test_2017_flickr"),
                "vocabulary_size": 6000,
                "length": 60,
            },
            "task": {"name": "translation", "label_smoothing": 0.1, "beams": 4, "alpha": 0.6},
            "model": {
                "name": "seq2seq",
                "width": 256,
                "encoder": {
                    "cell": "gru_reset_before" if published else "lstm",
                    "width": 256,
                    "bidirectional": True,
                },
                "decoder": {"cell": "gru_reset_before" if published else "lstm", "width": 512},
                **DECODERS[decoder],
                "share_embeddings": True,
                "tied_output": True,
                "dropout_rate": 0.3,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 200},
                "weight_decay": 1e-4,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.998,
            "batch_size": 128,
            "steps": 3000,
            "evaluation": {"every": 300},
            "checkpoint": {"every": 300},
        }
    )
