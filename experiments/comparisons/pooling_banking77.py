r"""What sums up the states of a BiLSTM: the last, the mean, the maximum, or attention, on BANKING77.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/pooling_banking77.py \
             --workdir=runs/pooling_banking77 (with ":tuning" behind the file for the search)
DIR has what experiments/banking77_recurrent.py needs. The control is the last state, which is no pooling. The search
tries eight pairs of a learning rate and a dropout for each, chosen on the validation split. Not run whole yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

BANKING = Path(__file__).parents[1] / "banking77_recurrent.py"
RESULTS = (
    Reproduction(
        system="What sums up the states of a BiLSTM",
        data="BANKING77, test, 2000 steps",
        core_minutes=12,
        metric="test_accuracy",
        control="last",
    ),
)
PATCHES = {
    "last": "model.pooling=last",
    "mean": "model.pooling=mean",
    "max": "model.pooling=max_pooling",
    "attention": "model.pooling=by_query:hidden=128",
    "self_attentive": "model.pooling=self_attentive:hops=2",
    "multihead": "model.pooling=multihead_pooling:heads=4",
}


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, whose first entry and control is the last state; or with "tuning" the search."""
    if arg not in ("", "tuning"):
        raise Refused(f"pooling_banking77.py takes the argument tuning or none, not {arg!r}: give one of these.")
    short = config.read(f"{BANKING}:last")
    short.update(steps=2000)
    space = {"optimizer": {"learning_rate": [1e-3, 2e-3, 4e-3, 8e-3]}, "model": {"dropout_rate": [0.3, 0.5]}}
    return ConfigDict(
        {
            "patches": PATCHES,
            "benchmarks": {"banking77": short},
            "seeds": (100,) if arg else (0, 1, 2),
            **({"tune": {"space": space}} if arg else {}),
        }
    )
