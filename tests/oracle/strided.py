"""q.k / sqrt(H) to the l positions about the query and to those whole strides away: Child et al. 2019, section 4.3."""

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def strided(*, stride: int) -> Equation:
    return Equation(scaled_dot().score, sees=lambda i, j: abs(i - j) <= stride or (i - j) % stride == 0)
