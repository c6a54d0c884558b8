"""Run by test_padded.py in an interpreter of its own with two devices: prints, as JSON, what each mesh gives.

Every mesh trains on the same batches of padded sequences as one device does.
"""

import json
import sys
from typing import Any

import jax

from attention_jax.data import train_batches
from attention_jax.kernels import Refused
from attention_jax.training import Experiment
from tests.training import tiny

STEPS = 4
RATE = {"name": "adamw", "learning_rate": 3e-3}
ENCODER = {"name": "encoder_classifier", "attention": "scaled_dot", "num_layers": 1, "num_heads": 2, "width": 8}
TEXTS = {"name": "text_classification", "context": 8, "validation_fraction": 0.2}
DOCUMENTS = {"name": "text_documents", "context": 8, "buckets": (8,), "separator": "#"}
SPREAD = {"data": 1, "sequence": 2}
MESHES: dict[str, dict[str, Any]] = {
    "one": {"mesh": {"data": 1}},
    "data": {"mesh": {"data": 2}},
    "ring": {"mesh": SPREAD},
    "all_gather": {"mesh": SPREAD, "attention_parallel": "all_gather"},
    "all_to_all": {"mesh": SPREAD, "attention_parallel": "all_to_all"},
}


CLASSIFYING = {"data": TEXTS, "model": ENCODER, "task": {"name": "classification"}}
PREDICTING = {"data": DOCUMENTS, "model": {"attention": "gated_linear", "dropout_rate": 0.0}}
# Of each kind of data: the changes of the experiment, and the meshes.
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "texts": (CLASSIFYING, tuple(MESHES)),
    "documents": (PREDICTING, ("one", "data", "ring")),
    "odd": ({**CLASSIFYING, "data": {**TEXTS, "buckets": (5, 8)}}, ("ring",)),
}


def losses(path: str, changes: dict[str, Any]) -> list[float] | str:
    """Returns the losses of the first steps, or why there are none."""
    changes = {**changes, "data": {**changes["data"], "path": path}, "optimizer": RATE}
    try:
        experiment = Experiment(**tiny.sections(**changes))
    except Refused as refusal:
        return str(refusal)
    state, rate, found = experiment.create_state(0), experiment.put_rate(experiment.learning_rate), []
    batches = train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0)
    for batch, _ in zip(batches, range(STEPS), strict=False):
        batch = experiment.put(batch)
        state, metrics = jax.block_until_ready(experiment.step_for(batch)(state, batch, rate))
        found.append(float(metrics["train_loss"]))
    return found


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_disable_most_optimizations", True)
    paths = {"text_classification": sys.argv[1], "text_documents": sys.argv[2]}
    given = {
        kind: {name: losses(paths[changes["data"]["name"]], {**changes, **MESHES[name]}) for name in meshes}
        for kind, (changes, meshes) in KINDS.items()
    }
    print(json.dumps(given))
