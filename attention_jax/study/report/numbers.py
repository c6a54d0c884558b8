"""Scores as text, in the decimals that suit their size."""

import math
from typing import Literal


def number(value: float, *, like: float | None = None, sign: Literal["-", "+"] = "-") -> str:
    """Returns `value` with four decimals, fewer when `like`, which is `value` by default, is large: 0.8312, 12.346.

    `sign` is that of a format specification: "+" shows the sign of a positive number too.
    """
    magnitude = max(abs(value if like is None else like), 1.0)
    return f"{value:{sign}.{max(0, 4 - math.floor(math.log10(magnitude)))}f}"
