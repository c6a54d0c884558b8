"""softmax(h_t^T W h_s) over |s - t| <= D: Luong et al. 2015, section 3.2, local-m."""

from tests.oracle.equations import Equation


def local_m(window, score):
    assert score == "general"
    return Equation(
        lambda xp, query, key, params, head, kv_head: query @ params["weight"][head] @ key,
        sees=lambda query_position, key_position: abs(query_position - key_position) <= window,
    )
