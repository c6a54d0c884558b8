"""Attention variants in one place of a Transformer that translates: its encoder, its decoder, or from one to the other.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --workdir=runs/attention_in_encoder \
             --config=experiments/comparisons/attention_in_transformer.py:encoder (or :decoder, or :cross_attention)
The other two places keep softmax attention, which is the reference. The control, `uniform`, is a plain mean over what a
token may see. Each variant has the recipe of its paper. Not yet run whole; needs what multi30k_short.py does.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

TRANSLATION = Path(__file__).parent / "multi30k_short.py"
KEYS = {
    "encoder": "model.encoder.attention",
    "decoder": "model.decoder.attention",
    "cross_attention": "model.decoder.cross_attention",
}
VARIANTS = {
    "encoder": ("additive:hidden=16", "entmax15", "linear", "performer:features=64", "sliding_window:window=5"),
    "decoder": ("entmax15", "gated_delta_net", "gated_linear", "linear", "sliding_window:window=5"),
    "cross_attention": ("additive:hidden=16", "entmax15", "linear", "local_p", "monotonic"),
}
RESULTS = tuple(
    Reproduction(
        system=f"Attention variants in the {place.replace('_', ' ')} of a Transformer",
        data="Multi30k, English to German, test 2016, greedy",
        name=f"attention_in_{place}",
        argument=place,
        core_minutes=70,
        metric="test_bleu",
        control="uniform",
    )
    for place in KEYS
)


def get_config(place: str) -> ConfigDict:
    """Returns the comparison; the first entry, softmax attention, is the reference.

    Args:
      place: encoder, decoder or cross_attention.

    Raises:
      Refused: it is none of them.
    """
    if place not in KEYS:
        raise Refused(f"attention_in_transformer.py has no place {place!r}.{did_you_mean(place, KEYS)}")
    patches = {spec.partition(":")[0]: f"{KEYS[place]}={spec}" for spec in (*VARIANTS[place], "uniform")}
    benchmarks = {"multi30k": config.read(str(TRANSLATION))}
    return ConfigDict({"patches": {"scaled_dot": "", **patches}, "seeds": (0, 1, 2), "benchmarks": benchmarks})
