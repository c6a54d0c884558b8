r"""ABCNN-1, -2 and -3 against BCNN on SICK's entailment: Yin et al. 2016.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/abcnn_sick.py \
             --workdir=runs/abcnn_sick (with ":tuning" behind the file for the search)
DIR has what experiments/sick_abcnn.py needs. The search tries eight pairs of a learning rate and a dropout for each
network, chosen on the trial split. Seen: of its 32 trials the 25 that ran before it was stopped. The seven others have
a dropout of 0.4, which was worse than 0.2 for each network at each rate that was tried. The best on the trial split:
BCNN 0.818, ABCNN-1 0.826 and ABCNN-3 0.766 at a rate of 4e-3, ABCNN-2 0.778 at 2e-3. Not compared at these yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

SICK = Path(__file__).parents[1] / "sick_abcnn.py"
RESULTS = (
    Reproduction(
        system="Attention in a convolutional network over two texts",
        data="SICK, entailment, test",
        core_minutes=4,
        metric="test_accuracy",
        control="bcnn",
    ),
)
PATCHES = {
    "bcnn": "",
    "abcnn_1": "model.channel=abcnn_1",
    "abcnn_2": "model.pooling=abcnn_2",
    "abcnn_3": "model.channel=abcnn_1 model.pooling=abcnn_2",
}

# What the search found, where it is not what experiments/sick_abcnn.py has.
TUNED = {"abcnn_2": "optimizer.learning_rate=2e-3"}
RATES = [5e-4, 1e-3, 2e-3, 4e-3]
DROPOUTS = [0.2, 0.4]


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, whose first entry and control is BCNN; or with the argument "tuning" the search."""
    if arg not in ("", "tuning"):
        raise Refused(f"abcnn_sick.py takes the argument tuning or none, not {arg!r}.")
    short = config.read(f"{SICK}:bcnn")
    short.update(steps=840)
    of_search = {"tune": {"space": {"optimizer": {"learning_rate": RATES}, "model": {"dropout_rate": DROPOUTS}}}}
    return ConfigDict(
        {
            "patches": PATCHES if arg else {name: f"{PATCHES[name]} {TUNED.get(name, '')}".strip() for name in PATCHES},
            "benchmarks": {"sick": short},
            "seeds": (100,) if arg else (0, 1, 2),
            **(of_search if arg else {}),
        }
    )
