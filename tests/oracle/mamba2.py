"""exp(-A d) S + d k v^T with d = softplus(gate + bias): Dao & Gu 2024, section 2."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import selective, softplus


def mamba2() -> Recurrence:
    def step(xp, state, key, value, params, beside, head):
        size = softplus(xp, beside["gate"] + params["step_bias"][head])
        return selective(xp, params, beside, head) * state + size * xp.outer(key, value)

    return Recurrence(step, lambda xp, state, query: query @ state)
