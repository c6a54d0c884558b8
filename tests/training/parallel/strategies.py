"""Run by test_strategies.py in an interpreter of its own with eight devices: prints, as JSON, what strategies give.

The words are their names. Every strategy trains the same model on the same batches, with dropout, as one device does.
"""

import json
import sys
from typing import Any

import jax

from attention_jax.cli.collectives import collectives
from attention_jax.data import train_batches
from attention_jax.training import Experiment
from tests.training import tiny

STEPS = 20
# No embedding has the shape of a kernel.
DATA = {"length": 16, "vocabulary_size": 48, "pairs": 2}
MODEL = {"attention": "scaled_dot", "num_layers": 1, "num_heads": 4, "width": 32, "attention_dropout_rate": 0.1}
# Adam's first steps go by the sign of a gradient, however small, so a large rate would let rounding grow.
RATE = {"optimizer": {"name": "adamw", "learning_rate": 3e-3}}
ONE = {"data": 1}
LINEAR = {"attention": "gated_linear", "attention_dropout_rate": 0.0, "dropout_rate": 0.1}
SCANNED = {"num_layers": 2, "scan_layers": True, "remat": "full"}
# Of each strategy: the changes of the experiment.
STRATEGIES: dict[str, dict[str, Any]] = {
    "one": {"mesh": ONE},
    "data": {"mesh": {"data": 8}},
    "fsdp": {"mesh": {"data": 1, "fsdp": 8}},
    "one accumulated": {"mesh": ONE, "accumulation": 2},
    "fsdp accumulated": {"mesh": {"data": 1, "fsdp": 4}, "accumulation": 2},
    "tensor": {"mesh": {"data": 2, "tensor": 4}},
    "ring": {"mesh": {"data": 1, "sequence": 8}},
    "all_to_all": {"mesh": {"data": 2, "sequence": 4}, "attention_parallel": "all_to_all"},
    "all_gather": {"mesh": {"data": 2, "sequence": 4}, "attention_parallel": "all_gather"},
    "data fsdp tensor": {"mesh": {"data": 2, "fsdp": 2, "tensor": 2}},
    "fsdp tensor ring": {"mesh": {"data": 1, "fsdp": 2, "tensor": 2, "sequence": 2}},
    "tensor all_to_all": {"mesh": {"data": 2, "tensor": 2, "sequence": 2}, "attention_parallel": "all_to_all"},
    "one scanned": {"mesh": ONE, "model": SCANNED},
    "fsdp scanned": {"mesh": {"data": 1, "fsdp": 8}, "model": SCANNED},
    "one linear": {"mesh": ONE, "model": LINEAR},
    "data tensor linear": {"mesh": {"data": 4, "tensor": 2}, "model": LINEAR},
}


def trained(*, model: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Returns the losses of 20 steps, the bytes of a device, and the step's collectives as (kind, shape) pairs."""
    model = {**MODEL, **(model or {})}
    experiment = Experiment(**tiny.sections(data=DATA, model=model, evaluation={"batch_size": 8}, **RATE, **changes))
    step, _ = experiment.compiled_step
    state, rate, losses = experiment.create_state(0), experiment.put_rate(experiment.learning_rate), []
    held = sum(array.addressable_shards[0].data.nbytes for array in jax.tree.leaves((state.params, state.opt_state)))
    batches = train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0)
    for batch, _ in zip(batches, range(STEPS), strict=False):
        state, metrics = jax.block_until_ready(step(state, experiment.put(batch), rate))
        losses.append(float(metrics["train_loss"]))
    found = collectives(step.as_text())
    return {
        "losses": losses,
        "held": held,
        "arguments": step.memory_analysis().argument_size_in_bytes,
        "collectives": [(each.kind, list(shape)) for each in found for _, shape in each.arrays],
    }


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_disable_most_optimizations", True)
    print(json.dumps({name: trained(**STRATEGIES[name]) for name in sys.argv[1:]}))
