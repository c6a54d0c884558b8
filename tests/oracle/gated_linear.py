"""diag(sigmoid(gate)^(1/tau)) S + k v^T: Yang et al. 2023, section 4.1."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import scaled_read, sigmoid


def gated_linear(*, temperature: float) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        return (sigmoid(xp, per_token["gate"]) ** (1 / temperature))[:, None] * state + xp.outer(key, value)

    return Recurrence(step, scaled_read)
