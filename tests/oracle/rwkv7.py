"""S (diag(w) - c^T (a (.) c)) + v^T k', S being [Hv, J]: Peng et al. 2025, section 4."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import sigmoid, unit


def rwkv7() -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        decay = xp.exp(-xp.exp(-0.5) * sigmoid(xp, per_token["gate"]))
        rate = sigmoid(xp, per_token["rate"])
        taken = unit(xp, key * params["removal"][head])
        written = key * (1 + (rate - 1) * params["replacement"][head])
        transition = xp.diag(decay) - xp.outer(taken, rate * taken)
        return (state.T @ transition + xp.outer(value, written)).T

    return Recurrence(step, lambda xp, state, query: query @ state)
