"""q.k / sqrt(H) within blocks of l and to the last c positions of each: Child et al. 2019, section 4.3."""

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def fixed(*, block: int, summaries: int) -> Equation:
    def sees(i, j):
        return i // block == j // block or block - summaries <= j % block < block

    return Equation(scaled_dot().score, sees=sees)
