"""cos(q, k) / tau with tau > 0.01, learned as log(1 / tau): Liu et al. 2021 (Swin Transformer V2), equation 2."""

from tests.oracle.equations import Equation


def cosine(*, beta: float) -> Equation:
    def score(xp, query, key, params, head, kv_head):
        cosine = query @ key / (xp.sqrt(query @ query) * xp.sqrt(key @ key))
        return cosine * xp.minimum(xp.exp(params["log_beta"][head]), 100)

    return Equation(score)
