"""q.k / sqrt(H): Vaswani et al. 2017, equation 1; or q.k times a scale."""

from tests.oracle.equations import Equation


def scaled_dot(*, scale: float | None = None) -> Equation:
    def score(xp, query, key, params, head, kv_head):
        return query @ key / query.shape[0] ** 0.5 if scale is None else scale * (query @ key)

    return Equation(score)
