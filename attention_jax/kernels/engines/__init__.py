"""HOW: each engine computes what it qualifies for; `choice` says which one is taken."""

from attention_jax.kernels.engines import blockwise, cudnn, decode, dense, gather, recurrence, rows, splash, stepwise
from attention_jax.kernels.engines.engine import Engine

ENGINES: dict[str, Engine] = {
    "cudnn": Engine(refusal=cudnn.refusal, run=cudnn.run),
    "splash": Engine(refusal=splash.refusal, run=splash.run),
    "recurrence": Engine(refusal=recurrence.refusal, run=recurrence.run),
    "decode": Engine(refusal=decode.refusal, run=decode.run),
    "gather": Engine(refusal=gather.refusal, run=gather.run),
    "blockwise": Engine(refusal=blockwise.refusal, run=blockwise.run),
    "rows": Engine(refusal=rows.refusal, run=rows.run),
    "stepwise": Engine(refusal=stepwise.refusal, run=stepwise.run),
    "dense": Engine(refusal=dense.refusal, run=dense.run),
}
