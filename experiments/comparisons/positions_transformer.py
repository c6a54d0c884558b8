"""Position schemes in a Transformer on the splits of SCAN that ask for more than was trained on.

Command: TFDS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/positions_transformer.py \
             --workdir=runs/positions_transformer
"length" has targets of 24 to 48 actions where training has up to 22; "addprim_jump" asks for "jump" in phrases where
training has it alone. Published Transformers get 14 to 21% and about 1% of them. Each scheme is that of both stacks;
sinusoids are the reference, and the control is told of no positions. Not yet run whole.
Needs: TFDS_DATA_DIR with scan/length and scan/addprim_jump prepared (python launch.py prepare scan/length, ...).
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

SCAN = Path(__file__).parents[1] / "scan_transformer.py"
RESULTS = (
    Reproduction(
        system="Position schemes in a Transformer",
        data="SCAN, splits length and addprim_jump",
        core_minutes=140,
        metric="test_exact_match",
        control="none",
    ),
)
SCHEMES = ("alibi", "complex_order", "learned", "none", "rope", "shaw:clip=16", "t5")


def get_config() -> ConfigDict:
    """Returns the comparison; the first entry, sinusoids, is the reference."""
    patches = {
        scheme.partition(":")[0]: f"model.encoder.positions={scheme} model.decoder.positions={scheme}"
        for scheme in SCHEMES
    }
    benchmarks = {split: _short(split) for split in ("length", "addprim_jump")}
    return ConfigDict({"patches": {"sinusoidal": "", **patches}, "seeds": (0, 1, 2), "benchmarks": benchmarks})


def _short(split: str) -> Any:
    """A third of the steps of the whole config, which ends before where the validation split is solved."""
    short = config.read(f"{SCAN}:{split}")
    short.update(steps=2000, checkpoint={"every": 1000})
    short.evaluation.every = 1000
    return short
