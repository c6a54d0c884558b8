"""sigmoid(gate)^(1/tau) S + k v^T: Sun et al. 2024 (YOCO), section 3.1."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import scaled_read, sigmoid


def gated_retention(*, temperature: float) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        return sigmoid(xp, per_token["gate"]) ** (1 / temperature) * state + xp.outer(key, value)

    return Recurrence(step, scaled_read)
