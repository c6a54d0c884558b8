"""q.k / sqrt(H) within a window, as Liu et al. 2021, section 3.2 and figure 4, go about it.

The grid, padded to whole windows, is rolled towards its start by the shift and cut into windows. Of tokens that the
roll has brought together in one, those see each other that lie on one side of the place where the grid was joined.
"""

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def swin(*, window: int, shift: int, dimensions: int) -> Equation:
    def where(at, size, window, shift):
        """The window that a row or a column comes into, and whether the roll has carried it around the end."""
        padded = size
        while padded % window:
            padded += 1
        rolled = at - shift
        return (rolled // window, False) if rolled >= 0 else ((rolled + padded) // window, True)

    def within(query, key, grid):
        if dimensions == 1:
            return where(query, grid[0] * grid[1], window, shift) == where(key, grid[0] * grid[1], window, shift)
        rows, columns = grid
        of_row = where(query // columns, rows, window, shift) == where(key // columns, rows, window, shift)
        return of_row and where(query % columns, columns, window, shift) == where(key % columns, columns, window, shift)

    return Equation(scaled_dot().score, within=within)
