"""HOW: each engine computes what it qualifies for; `choice` says which one is taken."""

from attention_jax.kernels.engines import dense, recurrence
from attention_jax.kernels.engines.engine import Engine

ENGINES: dict[str, Engine] = {
    "recurrence": Engine(refusal=recurrence.refusal, run=recurrence.run),
    "dense": Engine(refusal=dense.refusal, run=dense.run),
}
