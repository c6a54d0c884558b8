"""v^T tanh(W s + U h): Bahdanau et al. 2014, appendix A.1.2."""

from tests.oracle.equations import Equation


def additive(*, hidden: int | None) -> Equation:
    def score(xp, query, key, params, head, kv_head):
        hidden_layer = xp.tanh(query @ params["query"][head] + key @ params["key"][kv_head])
        return hidden_layer @ params["value"][head]

    return Equation(score)
