"""q.k / sqrt(H) for |i - j| < w, and for the first positions: Beltagy et al. 2020, section 3.1; Xiao et al. 2023."""

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def sliding_window(*, window: int, sinks: int) -> Equation:
    return Equation(scaled_dot().score, sees=lambda i, j: abs(i - j) < window or min(i, j) < sinks)
