"""gamma S + k v^T: Sun et al. 2023, equation 6."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import scaled_read


def retention() -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        return xp.exp(params["log_decay"][head]) * state + xp.outer(key, value)

    return Recurrence(step, scaled_read)
