"""diag(f) S + (1 - f) v^T, f = b + (1 - b) sigmoid(k), b a sum of softmax(bounds): Qin et al. 2024, section 3.2."""

from tests.oracle.equations import Recurrence
from tests.oracle.functions import sigmoid


def hgrn2(*, layers) -> Recurrence:
    def step(xp, state, key, value, params, per_token, head):
        powers = xp.exp(params["bounds"][head])
        bound = (params["before"] * powers).sum(-1) / powers.sum(-1)
        forget = bound + (1 - bound) * sigmoid(xp, key)
        return forget[:, None] * state + xp.outer(1 - forget, value)

    return Recurrence(step, lambda xp, state, query: query @ state)
