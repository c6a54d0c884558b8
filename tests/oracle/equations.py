"""What an oracle is: a variant from the equation in its paper, in a file of its own, `tests/oracle/NAME.py`.

Nothing here is shared with the library. `xp` is NumPy in the float64 oracle and `jax.numpy` in the naive implementation
that the library's rounding is measured against.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from attention_jax.kernels import lookup

Score = Callable[..., Any]


def everywhere(query_position: int, key_position: int) -> bool:
    """The rule of a variant that restricts nothing."""
    return True


def in_any_grid(query: int, key: int, grid: tuple[int, int]) -> bool:
    """The rule of a variant that does not go by how many tokens there are."""
    return True


@dataclass(frozen=True)
class Equation:
    """A variant, one pair at a time.

    Attributes:
      score: (xp, query [H], key [J], params, query head, key head) -> a number.
      exponential: whether the unnormalised weight is exp(score), or the score itself.
      sees: (query position, key position) -> whether the variant's own rule lets the one see the other.
      within: (query, key, (rows, columns) that all the tokens lie in, one row for a sequence) -> the same, of a rule
        that goes by how many there are.
      normalise: the scores of the keys that are seen -> their weights; None where they are divided by their sum.
      naive: (scores [..., S], -inf for hidden keys) -> weights, as one writes it without care.
    """

    score: Score
    exponential: bool = True
    sees: Callable[[int, int], bool] = everywhere
    within: Callable[[int, int, tuple[int, int]], bool] = in_any_grid
    normalise: Callable[[Any], Any] | None = None
    naive: Callable[[Any], Any] | None = None

    def pairs(self, queries: int, keys: int, grid: tuple[int, int] | None = None) -> np.ndarray:
        """Returns which query its rules let see which key, bool [T, S]."""
        grid = grid or (1, keys)
        seen = [[self.sees(i, j) and self.within(i, j, grid) for j in range(keys)] for i in range(queries)]
        return np.array(seen, bool)


@dataclass(frozen=True)
class Recurrence:
    """A variant, one token at a time: its state [J, Hv] starts at 0.

    Attributes:
      step: (xp, state, key [J], value [Hv], params, the token's per_token, key head) -> the next state.
      read: (xp, state, query [H]) -> the output [Hv].
    """

    step: Callable[..., Any]
    read: Callable[..., Any]


@dataclass(frozen=True)
class Whole:
    """A variant whose rows or heads are not apart, or which is made of others: a whole problem by itself.

    Attributes:
      run: (query, key, value, params, per_token, visible, positions) in float64, as of `loops.oracle`, positions the
        pair ([b, T], [b, S]) -> `loops.Result`.
      after: (the sums of values by the weights, params) -> `out`; None where they are `out`.
    """

    run: Callable[..., Any]
    after: Callable[[Any, Any], Any] | None = None


def equation(spec: str) -> Equation | Recurrence | Whole:
    """Returns the equation of the variant that `spec` chooses, with its options."""
    variant = lookup(spec)
    build = getattr(import_module(f"tests.oracle.{variant.name}"), variant.name)
    return build(**{name: chosen for name, (_, chosen) in variant.options.items()})


def known(name: str) -> bool:
    """Whether a variant of this name has an oracle."""
    return find_spec(f"tests.oracle.{name}") is not None
