"""(I - b k k^T) S + b k v^T, several times a token, k a unit vector, b = max_beta sigmoid(beta): Siems et al. 2025."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import replace, sigmoid, unit, unit_read


def delta_product(*, steps, max_beta) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        keys, values = [key, *per_token["keys"]], [value, *per_token["values"]]
        for j in range(steps):
            strength = max_beta * sigmoid(xp, per_token["beta"][j])
            state = replace(xp, state, unit(xp, keys[j]), values[j], strength)
        return state

    return Recurrence(step, unit_read)
