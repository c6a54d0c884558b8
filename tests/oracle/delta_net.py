"""(I - b k k^T) S + b k v^T, k a unit vector, b = max_beta sigmoid(beta): Yang et al. 2024, section 2.2."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import replace, sigmoid, unit, unit_read


def delta_net(*, max_beta) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        return replace(xp, state, unit(xp, key), value, max_beta * sigmoid(xp, per_token["beta"]))

    return Recurrence(step, unit_read)
