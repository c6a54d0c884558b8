"""q.k / sqrt(H) to the window about the query, moved off the edge step by step: Hassani et al. 2022, section 3.1."""

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def neighbourhood(*, window: int, dimensions: int) -> Equation:
    def about(at, size):
        seen = [at + step for step in range(-(window // 2), window // 2 + 1)]
        while min(seen) < 0:
            seen = [one + 1 for one in seen]
        while max(seen) >= size:
            seen = [one - 1 for one in seen]
        return seen

    def within(query, key, grid):
        if dimensions == 1:
            return key in about(query, grid[0] * grid[1])
        rows, columns = grid
        return key // columns in about(query // columns, rows) and key % columns in about(query % columns, columns)

    return Equation(scaled_dot().score, within=within)
