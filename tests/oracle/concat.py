"""v^T tanh(W [h_t; h_s]): Luong et al. 2015, equation 8."""

from tests.oracle.equations import Equation


def concat(*, hidden):
    def score(xp, query, key, params, head, kv_head):
        return params["value"][head] @ xp.tanh(xp.concatenate([query, key]) @ params["weight"][head])

    return Equation(score)
