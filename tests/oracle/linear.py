"""phi(q)^T phi(k), phi(x) = elu(x) + 1: Katharopoulos et al. 2020, equations 5 and 7."""

from tests.oracle.equations import Equation


def linear() -> Equation:
    def score(xp, query, key, params, head, kv_head):
        def phi(x):
            return xp.where(x > 0, x + 1, xp.exp(xp.minimum(x, 0)))

        return phi(query) @ phi(key)

    return Equation(score, exponential=False)
