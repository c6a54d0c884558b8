"""Multi-query associative recall at (64, 4), each mixer in the recipe of its paper: what published orders compare.

Command: python launch.py compare --config=experiments/benchmarks/mqar_recipes.py
The task and the model are those of mqar.py, whose kernels are bare. A short convolution before queries, keys and
values, which the recurrences' recipes have, shifts a key onto its value. Published order (Zoology, 2312.04927; Gated
DeltaNet, 2412.06464): attention, gated delta and delta before additive linear attention.
Not yet run whole, so all have mqar.py's learning rate; ":tuning" tries its grid for every variant, and chooses on the
validation split: the rates that it finds belong in the key `tuned`.
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Reproduction
from attention_jax.training import config

BARE = Path(__file__).parent / "mqar.py"
RESULTS = (
    Reproduction(
        system="Recall in the recipes of the papers, (64, 4)",
        data="MQAR of 64 tokens with 4 pairs, 8192 words, fillers 0",
        core_minutes=35,
        metric="test_accuracy",
        control="uniform",
        expected={"mqar / scaled_dot": Expected(0.995, tolerance=0.005)},
    ),
)
VARIANTS = ("scaled_dot", "gated_delta_net", "delta_net", "linear", "uniform")


def get_config(arg: str = "") -> ConfigDict:
    """Returns the comparison, or with the argument "tuning" the search for its learning rates."""
    bare = config.read(f"{BARE}:{arg}")
    of_search: dict[str, Any] = {"tune": bare.tune} if arg == "tuning" else {}
    return ConfigDict({"variants": VARIANTS, "seeds": bare.seeds, "benchmarks": bare.benchmarks, **of_search})
