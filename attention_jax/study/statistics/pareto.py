"""Which variants are worth their cost: those that no other beats in score and cost at once."""

from collections.abc import Mapping


def pareto_front(points: Mapping[str, tuple[float, float]], *, rising: bool, cheaper: bool) -> list[str]:
    """Returns the names that no other dominates, from the least to the largest cost.

    One dominates another that is at least as good in both and better in one; of two equal ones neither does.

    Args:
      points: name -> (cost, score).
      rising: whether a higher score is better.
      cheaper: whether a lower cost is better; of a rate, such as tokens a second, a higher one is.
    """
    signs = (1 if cheaper else -1, -1 if rising else 1)
    losses = {
        name: tuple(sign * value for sign, value in zip(signs, point, strict=True)) for name, point in points.items()
    }
    front = [
        name
        for name, loss in losses.items()
        if not any(other != loss and all(o <= m for o, m in zip(other, loss, strict=True)) for other in losses.values())
    ]
    return sorted(front, key=lambda name: points[name][0])
