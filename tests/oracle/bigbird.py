"""q.k / sqrt(H) to global, near and random blocks: Zaheer et al. 2020, section 2; the lots are our own."""

import numpy as np

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def bigbird(*, block: int, random: int, seed: int) -> Equation:
    def blocks_of(one, count):
        """The blocks that a block sees, each once."""
        if one in (0, count - 1):
            return list(range(count))
        chosen = []
        for other in (0, one - 1, one, one + 1, count - 1):
            if other not in chosen:
                chosen.append(other)
        lots = np.random.Philox(key=seed).random_raw(count * count)
        left = [other for other in range(count) if other not in chosen]
        return chosen + sorted(left, key=lambda other: lots[one * count + other])[:random]

    def within(query, key, grid):
        return key // block in blocks_of(query // block, grid[0] * grid[1] // block)

    return Equation(scaled_dot().score, within=within)
