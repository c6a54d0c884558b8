"""Alignment functions of a recurrent encoder-decoder on a translation, beside static weights and none at all.

Command: TEXTS_DATA_DIR=DIR python launch.py compare --config=experiments/comparisons/alignments_multi30k.py \
             --workdir=runs/alignments_multi30k
The reference is Luong's general. "static" has one context for a sentence, by weights from a learned query; "uniform"
weighs all words alike; "none" has the encoder's last state alone. What decides is BLEU on test 2016 by greedy decoding,
after a seventh of the steps of multi30k_seq2seq.py: ten minutes a run, as declared. Not run yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Reproduction
from attention_jax.training import config

WHOLE = Path(__file__).parents[1] / "multi30k_seq2seq.py"
# Of Luong et al., of Bahdanau et al., and those whose weights depend on the ones before.
ATTENTIONS = (
    "dot",
    "concat",
    "location",
    "local_m",
    "local_p",
    "additive",
    "location_sensitive",
    "monotonic",
    "mocha",
    "gumbel:hard=True",
    "static",
    "uniform",
    "none",
)
RESULTS = (
    Reproduction(
        system="Alignment functions of an LSTM encoder-decoder",
        data="Multi30k, English to German, test 2016, greedy",
        core_minutes=140,
        metric="test_bleu",
        control="none",
    ),
)


def get_config() -> ConfigDict:
    """Returns the comparison; the first entry, Luong's general, is the reference."""
    short = config.read(str(WHOLE))
    short.data.tests = ("test_2016_flickr",)
    short.task.update(metric="bleu", beams=1)
    short.optimizer.schedule.warmup_steps = 50
    short.update(ema_decay=0.99, steps=450, evaluation={"every": 450}, checkpoint={"every": 450})
    patches = {spec.partition(":")[0]: f"model.attention={spec}" for spec in ATTENTIONS}
    return ConfigDict({"patches": {"general": "", **patches}, "seeds": (0, 1, 2), "benchmarks": {"multi30k": short}})
