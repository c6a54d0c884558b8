"""h_t^T W h_s: Luong et al. 2015, equation 8."""

from tests.oracle.equations import Equation


def general() -> Equation:
    return Equation(lambda xp, query, key, params, head, kv_head: query @ params["weight"][head] @ key)
