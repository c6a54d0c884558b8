"""The convex hull of points in the plane, by pointing at its corners."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.synthetic.pointing import facts_of, pointed
from attention_jax.data.synthetic.splits import Arrays, generated


@register
def convex_hull(
    *,
    shortest: int = 5,
    longest: int = 10,
    train_examples: int = 100_000,
    validation_examples: int = 2_000,
    test_examples: int = 2_000,
    seed: int = 0,
) -> Dataset:
    """Returns sets of points, points float32 [B, S, 2], and the places of the corners of each one's convex hull.

    Points are uniform in [0, 1)^2. The corners go against the clock from the one that comes first in the source, as
    `pointed` lays them out. Sources are padded with (0, 0).

    Source: Vinyals, Fortunato & Jaitly, "Pointer Networks" (arXiv 1506.03134), section 3.1. Differences: points are
    drawn anew; the first corner is not told again at the end, which is the place 0.

    Args:
      shortest, longest: points of a source, 3 at least; each number is as likely as another.
      train_examples, validation_examples, test_examples: sources in each split.
      seed: fixes everything; 0 to 2^32 - 1.

    Raises:
      Refused: a size or the seed is impossible.
    """
    name = "convex_hull"
    if not 3 <= shortest <= longest:
        raise Refused(f"{name} has shortest={shortest} and longest={longest}: give at least 3, and no less as longest.")

    def draw(rng: np.random.Generator, rows: int) -> Arrays:
        points = rng.random((rows, longest, 2), dtype=np.float32)
        counts = rng.integers(shortest, longest + 1, size=rows)
        order, corners = np.zeros((rows, longest), np.int64), np.zeros(rows, np.int64)
        for row, count in enumerate(counts):
            hull = hull_of(points[row, :count])
            order[row, : len(hull)], corners[row] = hull, len(hull)
        points[np.arange(longest) >= counts[:, None]] = 0
        return {"points": points, **pointed(1 + order, corners, counts)}

    splits = generated(
        name,
        draw,
        train_examples=train_examples,
        validation_examples=validation_examples,
        test_examples=test_examples,
        seed=seed,
        told_apart_by="points",
    )
    return Dataset(splits=splits, facts=facts_of(vocabulary_size=0, most=longest))


def hull_of(points: np.ndarray) -> np.ndarray:
    """Returns the places of the corners of a convex hull, against the clock from the first in order of place.

    Andrew's monotone chain (Andrew 1979): points on an edge are no corners.

    Args:
      points: [S, 2], three at least that are not in one line.
    """
    order = np.lexsort(points.astype(np.float64).T[::-1])
    lower, upper = _chain(points, order), _chain(points, order[::-1])
    hull = np.array([*lower[:-1], *upper[:-1]])
    return np.roll(hull, -int(hull.argmin()))


def _chain(points: np.ndarray, order: np.ndarray) -> list[int]:
    found: list[int] = []
    for place in order:
        x, y = map(float, points[place])
        while len(found) > 1:
            (x1, y1), (x2, y2) = points[found[-2]].tolist(), points[found[-1]].tolist()
            if (x2 - x1) * (y - y1) > (y2 - y1) * (x - x1):
                break
            found.pop()
        found.append(int(place))
    return found
