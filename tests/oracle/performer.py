"""mean_m exp(w_m.x - |x|^2/2) exp(w_m.y - |y|^2/2): Choromanski et al. 2020, lemma 1, x and y q and k / H^(1/4)."""

from tests.oracle.equations import Equation


def performer(*, features: int | None) -> Equation:
    def score(xp, query, key, params, head, kv_head):
        x, y = (token / token.shape[0] ** 0.25 for token in (query, key))
        exponents = params["projection"] @ x - x @ x / 2 + params["projection"] @ y - y @ y / 2
        return xp.mean(xp.exp(exponents))

    return Equation(score, exponential=False)
