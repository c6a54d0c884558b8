"""(I - b k k^T) a S + b k v^T: Yang et al. 2024 (Gated DeltaNet), equation 10."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import replace, selective, sigmoid, unit, unit_read


def gated_delta_net(*, max_beta) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        state = selective(xp, params, per_token, head) * state
        return replace(xp, state, unit(xp, key), value, max_beta * sigmoid(xp, per_token["beta"]))

    return Recurrence(step, unit_read)
