r"""Pair mechanisms between the BiLSTMs of two texts, on SICK's entailment; the control lets neither see the other.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/pairs_sick.py \
             --workdir=runs/pairs_sick (with ":tuning" behind the file for the search)
DIR has what experiments/sick_abcnn.py needs. The search tries four learning rates for each mechanism, chosen on the
trial split. Not run whole yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

SICK = Path(__file__).parents[1] / "sick_abcnn.py"
MECHANISMS = ("attentive_pooling", "bidaf", "co_attention", "abcnn_1", "abcnn_2:window=3")
RESULTS = (
    Reproduction(
        system="Pair mechanisms in a BiLSTM classifier",
        data="SICK, entailment, test",
        core_minutes=8,
        metric="test_accuracy",
        control="none",
    ),
)


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, whose first entry is `decomposable`; or with the argument "tuning" the search."""
    if arg not in ("", "tuning"):
        raise Refused(f"pairs_sick.py takes the argument tuning or none, not {arg!r}.")
    short = config.read(str(SICK))
    short.model = {
        "name": "pair_classifier",
        "width": 64,
        "encoder": {"width": 48, "bidirectional": True},
        "hidden": 64,
        "dropout_rate": 0.3,
    }
    short.update(steps=700)
    of_search = {"tune": {"space": {"optimizer": {"learning_rate": [5e-4, 1e-3, 2e-3, 4e-3]}}}} if arg else {}
    patches = {spec.partition(":")[0]: f"model.pair={spec}" for spec in MECHANISMS}
    return ConfigDict(
        {
            "patches": {"decomposable": "", **patches, "none": "model.pair=None"},
            "benchmarks": {"sick": short},
            "seeds": (100,) if arg else (0, 1, 2),
            **of_search,
        }
    )
