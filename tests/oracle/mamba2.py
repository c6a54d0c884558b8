"""exp(-A d) S + d k v^T with d = softplus(gate + bias): Dao & Gu 2024, section 2."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import selective, softplus


def mamba2() -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        size = softplus(xp, per_token["gate"] + params["step_bias"][head])
        return selective(xp, params, per_token, head) * state + size * xp.outer(key, value)

    return Recurrence(step, lambda xp, state, query: query @ state)
