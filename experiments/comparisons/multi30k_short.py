"""experiments/multi30k_transformer.py cut to a seventh of its steps, for comparisons: ten minutes a run on one core.

Command: TEXTS_DATA_DIR=DIR python launch.py train --config=experiments/comparisons/multi30k_short.py \
             --workdir=runs/multi30k_short
What decides is BLEU on test 2016, by greedy decoding, at the end.
"""

from pathlib import Path

from ml_collections import ConfigDict

from attention_jax.training import config

WHOLE = Path(__file__).parents[1] / "multi30k_transformer.py"


def get_config() -> ConfigDict:
    """Returns 450 steps at the learning rate of the whole config, which a short warm-up reaches after 100."""
    short = config.read(str(WHOLE))
    short.data.tests = ("test_2016_flickr",)
    short.task.update(metric="bleu", beams=1)
    short.optimizer.schedule.warmup_steps = 100
    short.update(ema_decay=0.99, steps=450, evaluation={"every": 450}, checkpoint={"every": 450})
    return short
