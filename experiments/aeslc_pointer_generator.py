"""The subject of an e-mail from its body: AESLC (Zhang & Tetreault 2019), by a pointer-generator network with coverage.

Command: python launch.py train --config=experiments/aeslc_pointer_generator.py --workdir=runs/aeslc_pointer_generator
         ... --config=experiments/aeslc_pointer_generator.py:generator, its twin that does not copy
Needs: TFDS_DATA_DIR with aeslc prepared (python launch.py prepare aeslc).
Seen: not run yet.
"""

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.reproduction.declaration import Figure, Reproduction

WHICH = ("copying", "generator")
RESULTS = tuple(
    Reproduction(
        system=system,
        data="AESLC, subject of a body",
        name="aeslc_pointer_generator" if which == "copying" else "aeslc_generator",
        argument=which,
        core_minutes=18,
        metric="test_rouge1",
        bar=14.0 if which == "copying" else None,
        floor=Figure(0, "no word right"),
        reference=Figure(14.0, "the first 15 words"),
        published=Figure(15.0, "Transformer-base from scratch (PEGASUS)"),
    )
    for which, system in zip(WHICH, ("pointer-generator, width 128", "the same without copying"), strict=True)
)


def get_config(which: str = "copying") -> ConfigDict:
    """Returns a pointer-generator network of width 128.

    Args:
      which: copying, or generator, which writes words of its vocabulary alone.
    """
    if which not in WHICH:
        raise Refused(f"aeslc_pointer_generator.py:{which} is none of {', '.join(WHICH)}.")
    return ConfigDict(
        {
            "data": {
                "name": "summaries",
                "dataset": "aeslc",
                "train": "train",
                "validation": "validation",
                "test": "test",
                "source": "email_body",
                "target": "subject_line",
                "source_length": 100,
                "target_length": 14,
                "min_count": 20,
                "extended": which == "copying",
            },
            "task": {"name": "summarisation", "metric": "loss"},
            "model": {
                "name": "pointer_generator",
                "width": 128,
                "encoder": {"cell": "lstm", "width": 128, "bidirectional": True},
                "decoder": {"cell": "lstm", "width": 256},
                "dropout_rate": 0.3,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 100},
                "weight_decay": 0.01,
                "clip_norm": 2.0,
            },
            "batch_size": 64,
            "steps": 2000,
            "evaluation": {"every": 250, "batch_size": 128},
            "log": {"every": 50},
        }
    )
