r"""Attention before a convolution, after it, and asked by an LSTM, against the maximum and the mean, on BANKING77.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/cnn_attention.py \
             --workdir=runs/cnn_attention (with ":tuning" behind the file for the search)
DIR has what experiments/banking77_recurrent.py needs. The control is Kim's (2014) maximum over places. The search tries
eight pairs of a learning rate and a dropout for each, chosen on the validation split. Not run whole yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

BANKING = Path(__file__).parents[1] / "banking77_recurrent.py"
RESULTS = (
    Reproduction(
        system="A convolutional network with attention before it, after it, or asked by an LSTM",
        data="BANKING77, test, 2000 steps",
        core_minutes=12,
        metric="test_accuracy",
        control="max",
    ),
)
PATCHES = {
    "max": "",
    "mean": "model.pooling=mean",
    "before": "model.attention=scaled_dot",
    "after": "model.pooling=by_query:hidden=128",
    "before_and_after": "model.attention=scaled_dot model.pooling=by_query:hidden=128",
    "asked_by_lstm": "model.pooling=by_query model.query_width=128",
}


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, whose first entry and control is the maximum; or with "tuning" the search."""
    if arg not in ("", "tuning"):
        raise Refused(f"cnn_attention.py takes the argument tuning or none, not {arg!r}: give one of these.")
    short = config.read(f"{BANKING}:mean")
    short.model = {
        "name": "cnn_classifier",
        "width": 128,
        "filters": 64,
        "windows": (2, 3, 4),
        "attention": None,
        "pooling": "max_pooling",
        "query_width": 0,
        "dropout_rate": 0.5,
    }
    short.update(steps=2000)
    space = {"optimizer": {"learning_rate": [5e-4, 1e-3, 2e-3, 4e-3]}, "model": {"dropout_rate": [0.3, 0.5]}}
    return ConfigDict(
        {
            "patches": PATCHES,
            "benchmarks": {"banking77": short},
            "seeds": (100,) if arg else (0, 1, 2),
            **({"tune": {"space": space}} if arg else {}),
        }
    )
