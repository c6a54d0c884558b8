"""What the name of a metric says of it: its direction and its bounds."""

import math

from attention_jax.tasks import higher_is_better

__all__ = ["UNBOUNDED", "bounds", "higher_is_better"]

UNBOUNDED = (-math.inf, math.inf)

_SHARES = ("accuracy", "f1", "exact_match", "recall", "precision")
_POSITIVE = ("loss", "error")


def bounds(metric: str) -> tuple[float, float]:
    """Returns the least and the largest value that `metric` can have, infinite where there is none.

    A share (accuracy, F1, exact match, recall, precision) lies in [0, 1], a loss or an error in [0, inf), a perplexity
    in [1, inf).
    """
    if metric.endswith(_SHARES):
        return 0.0, 1.0
    if metric.endswith("perplexity"):
        return 1.0, math.inf
    return (0.0, math.inf) if metric.endswith(_POSITIVE) else UNBOUNDED
