"""Position schemes in a character GPT, trained on 64 characters and read out on 64, 128 and 256.

Command: TFDS_DATA_DIR=DIR python launch.py reproduce positions_gpt
         ... launch.py compare --config=experiments/comparisons/positions_gpt.py --workdir=runs/positions_gpt
The losses at 2 and 4 times the length are columns of docs/results.md, and in the metrics.jsonl of each run. A learned
table has a vector for each of the 256 places, of which the last 192 are never trained: its losses there say that, and
nothing else. The control is told of no positions; what it knows of them comes from the causal mask alone.
Not yet run whole. Needs: TFDS_DATA_DIR with tiny_shakespeare prepared (python launch.py prepare tiny_shakespeare).
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

GPT = Path(__file__).parents[1] / "shakespeare_gpt.py"
RESULTS = (
    Reproduction(
        system="Position schemes in a GPT",
        data="tiny_shakespeare, characters, trained on 64 and read out on 64, 128 and 256",
        core_minutes=35,
        metric="validation_loss",
        also=("validation_2x_loss", "validation_4x_loss"),
        control="none",
    ),
)
SCHEMES = ("alibi", "fire", "kerple", "none", "rope", "sinusoidal", "t5:bidirectional=false", "transformer_xl", "xpos")


def get_config() -> ConfigDict:
    """Returns the comparison; the first entry, learned positions, is the reference."""
    gpt = config.read(str(GPT))
    gpt.data.longer = (2, 4)
    gpt.update(steps=1000)
    patches = {"learned": "", **{scheme.partition(":")[0]: f"model.positions={scheme}" for scheme in SCHEMES}}
    return ConfigDict({"patches": patches, "seeds": (0, 1, 2), "benchmarks": {"shakespeare": gpt}})
