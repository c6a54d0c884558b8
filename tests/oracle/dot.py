"""h_t^T h_s: Luong et al. 2015, equation 8."""

from tests.oracle.equations import Equation


def dot():
    return Equation(lambda xp, query, key, params, head, kv_head: query @ key)
