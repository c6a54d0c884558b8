"""(I - b k k^T) diag(a) S + b k v^T: Kimi Team 2025, equation 1."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import replace, selective, sigmoid, unit, unit_read


def kimi_delta(*, max_beta) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        state = selective(xp, params, per_token, head)[:, None] * state
        return replace(xp, state, unit(xp, key), value, max_beta * sigmoid(xp, per_token["beta"]))

    return Recurrence(step, unit_read)
